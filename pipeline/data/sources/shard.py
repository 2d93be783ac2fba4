"""Divides a source into shards, each read by one process, and shards into blocks, each processed by one thread.

Shards depend only on the source, not on the readers or their number, so that every way of reading gives the same rows.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Semaphore, Thread
from typing import Protocol, TypeVar

from pipeline.core.environment import num_cores
from pipeline.data.sources.base import BadRow, Batch, batch_of_rows

JOIN_SECONDS = 1.0
MAX_THREADS = 8
"""More threads gain nothing: a single thread decompresses for all the others."""

T = TypeVar("T")


@dataclass(frozen=True)
class Block:
    """A few megabytes of a shard, fetched but not yet converted to rows."""

    read: Callable[[], Batch]
    """Converts the block to rows: the expensive part, in any thread."""
    share: float | None = None
    """Fraction of its shard fetched once this block is fetched, 0 to 1; None if unknown."""


class Shard(Protocol):
    """A part of a source that one process reads from start to end. It is small and can be sent to another process."""

    @property
    def name(self) -> str:
        """Its name in messages, the same every time the same source is read."""

    @property
    def num_bytes(self) -> int | None:
        """Its stored size, compressed or not; None if unknown."""

    @property
    def num_files(self) -> int:
        """Number of files that contain it."""

    @property
    def local_files(self) -> Sequence[str]:
        """The files on this machine that contain it; none when it is stored elsewhere."""

    def blocks(self) -> Iterator[Block]:
        """Its blocks, in the order of its rows."""


@dataclass(frozen=True)
class LeftOut:
    """What a source does not open, each reported as a bad row with the reason."""

    name: str
    rows: tuple[BadRow, ...]
    num_bytes: int = 0
    num_files: int = 0
    local_files: tuple[str, ...] = ()

    def blocks(self) -> Iterator[Block]:
        yield Block(partial(batch_of_rows, self.rows), 1.0)


@dataclass(frozen=True)
class SourceSize:
    """The stored size of a source, determined before any of it is read."""

    num_files: int
    num_bytes: int | None
    """As stored, compressed or not; None if unknown."""


def extent_of(shards: Sequence[Shard]) -> SourceSize:
    sizes = [shard.num_bytes for shard in shards]
    num_bytes = None if None in sizes else sum(size for size in sizes if size is not None)
    return SourceSize(sum(shard.num_files for shard in shards), num_bytes)


def fingerprint(shard: Shard) -> str:
    """Identifies a shard and the current state of its local files: results for another state must not be reused."""
    return f"{shard!r} {[_state(path) for path in shard.local_files]}"


def _state(path: str) -> tuple[int, int] | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def never() -> bool:
    """Whether something is over that never is."""
    return False


class Source(ABC):
    """A source of code. Each reading yields the same rows in the same order."""

    spec: str
    note: str = ""
    """A note for people on what its numbers do not show; empty when there is none."""

    @abstractmethod
    def shards(self, is_over: Callable[[], bool] = never) -> Sequence[Shard]:
        """Lists the shards without reading them. Once `is_over`, those found so far are enough."""

    def batches(self) -> Iterator[Batch]:
        """Every row, read in the calling thread."""
        for block in blocks_of(self.shards()):
            yield replace(block.read(), progress=block.share)


def blocks_of(shards: Sequence[Shard]) -> Iterator[Block]:
    """The blocks of all `shards`; `share` is the fraction of all shards that is fetched with the block."""
    sizes = [shard.num_bytes for shard in shards]
    weights = [1.0] * len(shards) if None in sizes else [float(size or 0) + 1 for size in sizes]
    total, before = sum(weights), 0.0
    for shard, weight in zip(shards, weights, strict=True):
        for block in shard.blocks():
            share = None if block.share is None else min(1.0, (before + weight * block.share) / total)
            yield Block(block.read, share)
        before += weight


def in_threads(
    blocks: Iterable[Block], work: Callable[[Block], T], threads: int | None = None
) -> Generator[T, None, None]:
    """Yields the result of `work` for every block, in order. Threads work a few blocks ahead of the consumer.

    An error while a block is fetched is raised after the results of all blocks fetched before it.
    """
    threads = threads or num_threads()
    iterator, failure = iter(blocks), None
    waiting: deque[Future[T]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="blocks")
    try:
        while True:
            try:
                block = next(iterator)
            except StopIteration:
                break
            except Exception as error:
                failure = error
                break
            waiting.append(pool.submit(work, block))
            if len(waiting) > threads + 1:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
        if failure is not None:
            raise failure
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def promptly_in_threads(
    blocks: Iterable[Block], work: Callable[[Block], T], threads: int | None = None
) -> Generator[T, None, None]:
    """As `in_threads`, but each result is yielded as soon as it is there: a source that falls silent holds nothing back.
    Its additional thread costs a tenth of the time of a whole shard, which is for those who watch.
    """
    threads = threads or num_threads()
    room = Semaphore(threads + 2)  # for blocks that are fetched and not yet consumed
    fetched: SimpleQueue[Future[T] | Exception | None] = SimpleQueue()
    is_over = Event()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="blocks")

    def fetch() -> None:
        ended = None
        try:
            iterator = iter(blocks)
            while room.acquire() and not is_over.is_set():
                if (block := next(iterator, None)) is None:
                    break
                fetched.put(pool.submit(work, block))
        except Exception as error:
            ended = error
        fetched.put(ended)

    fetcher = Thread(target=fetch, name="blocks-fetch", daemon=True)
    fetcher.start()
    try:
        while isinstance(result := fetched.get(), Future):
            yield result.result()
            room.release()
        if result is not None:
            raise result
    finally:
        is_over.set()
        room.release()
        fetcher.join(JOIN_SECONDS)  # a silent source must not delay a stop: its thread ends when it answers
        pool.shutdown(wait=True, cancel_futures=True)


def num_threads() -> int:
    """Cores that this process may use, at most MAX_THREADS; in a worker process, the threads that polars may use."""
    return min(MAX_THREADS, int(os.environ.get("POLARS_MAX_THREADS") or num_cores()))
