"""How a source is cut up: into shards, the work of one process, and those into pieces, the work of one thread.

Shards depend on the source alone, never on who reads them or how many do, so that every way of reading gives the same.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeVar

from pipeline.data.sources.base import Batch

MOST_THREADS = 8
"""More gain nothing: one thread unpacks for all the others."""

T = TypeVar("T")


@dataclass(frozen=True)
class Piece:
    """A few megabytes of a shard, fetched but not yet made into rows."""

    read: Callable[[], Batch]
    """Makes the rows: the costly part, in any thread."""
    share: float | None = None
    """Share of its shard that is fetched when this piece is, 0 to 1; None when nobody knows."""


class Shard(Protocol):
    """A part of a source that one process reads from its beginning to its end. Small, and can be sent to another one."""

    @property
    def name(self) -> str:
        """What it is called in messages, the same at every reading of the same source."""

    @property
    def num_bytes(self) -> int | None:
        """Its size where it lies, packed or not; None when nobody knows."""

    @property
    def num_files(self) -> int:
        """Files it lies in."""

    @property
    def local_files(self) -> Sequence[str]:
        """The files of this machine that it lies in; none when it lies elsewhere."""

    def pieces(self) -> Iterator[Piece]:
        """In the order of its rows."""


@dataclass(frozen=True)
class SourceSize:
    """How large a source is where it lies, before anything of it is read."""

    num_files: int
    num_bytes: int | None
    """Packed as it is; None when nobody knows."""


def extent_of(shards: Sequence[Shard]) -> SourceSize:
    sizes = [shard.num_bytes for shard in shards]
    num_bytes = None if None in sizes else sum(size for size in sizes if size is not None)
    return SourceSize(sum(shard.num_files for shard in shards), num_bytes)


def fingerprint(shard: Shard) -> str:
    """What a shard is and, of files on this machine, their present state: what was found in other states is not used."""
    return f"{shard!r} {[_state(path) for path in shard.local_files]}"


def _state(path: str) -> tuple[int, int] | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


class Source(ABC):
    """Somewhere that code comes from. Read again, it delivers the same rows in the same order."""

    spec: str
    note: str = ""
    """What its numbers do not show, for people; empty when there is nothing to say."""

    @abstractmethod
    def shards(self) -> Sequence[Shard]:
        """Lists what there is, without reading it."""

    def batches(self) -> Iterator[Batch]:
        """Every row, in this thread."""
        for piece in pieces_of(self.shards()):
            yield replace(piece.read(), progress=piece.share)


def pieces_of(shards: Sequence[Shard]) -> Iterator[Piece]:
    """The pieces of all `shards`, each with the share of all of them that is fetched with it."""
    sizes = [shard.num_bytes for shard in shards]
    weights = [1.0] * len(shards) if None in sizes else [float(size or 0) + 1 for size in sizes]
    total, before = sum(weights), 0.0
    for shard, weight in zip(shards, weights, strict=True):
        for piece in shard.pieces():
            share = None if piece.share is None else min(1.0, (before + weight * piece.share) / total)
            yield Piece(piece.read, share)
        before += weight


def in_threads(
    pieces: Iterable[Piece], work: Callable[[Piece], T], threads: int | None = None
) -> Generator[T, None, None]:
    """What `work` makes of every piece, in order, a few pieces ahead of whoever asks.

    What fetching a piece raises is raised behind all that was fetched before it.
    """
    threads = threads or num_threads()
    iterator, failure = iter(pieces), None
    waiting: deque[Future[T]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="pieces")
    try:
        while True:
            try:
                piece = next(iterator)
            except StopIteration:
                break
            except Exception as error:
                failure = error
                break
            waiting.append(pool.submit(work, piece))
            if len(waiting) > threads + 1:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
        if failure is not None:
            raise failure
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def num_threads() -> int:
    """The cores that this process may use, within reason: in a worker, those that polars may."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(MOST_THREADS, int(os.environ.get("POLARS_MAX_THREADS") or cores))
