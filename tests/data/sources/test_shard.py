"""Blocks are processed in threads and arrive in their order, with errors behind everything that was fetched before."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.data.sources.base import Batch, batch_of_rows
from pipeline.data.sources.shard import (
    Block,
    SourceSize,
    blocks_of,
    extent_of,
    fingerprint,
    in_threads,
    promptly_in_threads,
)


def empty() -> Batch:
    return batch_of_rows(iter(()))


@dataclass(frozen=True)
class Plain:
    """A shard of `count` empty blocks."""

    name: str
    count: int
    num_bytes: int | None = None
    local_files: Sequence[str] = ()
    num_files: int = 1

    def blocks(self) -> Iterator[Block]:
        for number in range(self.count):
            yield Block(empty, (number + 1) / self.count)


def numbered(count: int) -> Iterator[Block]:
    for number in range(count):
        yield Block(empty, float(number))


both = pytest.mark.parametrize("ways", [in_threads, promptly_in_threads])
Ways = Callable[..., Generator[float | None, None, None]]


@both
def test_results_come_in_the_order_of_the_blocks(ways: Ways) -> None:
    def work(block: Block) -> float | None:
        time.sleep(0.002 * (3 - (block.share or 0) % 3))  # later ones are faster
        return block.share

    assert list(ways(numbered(20), work, threads=4)) == [float(n) for n in range(20)]


@both
def test_blocks_are_fetched_a_few_ahead_and_no_more(ways: Ways) -> None:
    fetched: list[int] = []

    def counted() -> Iterator[Block]:
        for number in range(50):
            fetched.append(number)
            yield Block(empty, float(number))

    results = ways(counted(), lambda block: block.share, threads=2)
    assert next(results) == 0.0
    assert len(fetched) <= 2 + 2
    results.close()
    assert len(fetched) <= 2 + 2


def test_a_source_that_falls_silent_holds_nothing_back() -> None:
    may_go_on = threading.Event()

    def falls_silent() -> Iterator[Block]:
        yield from numbered(3)
        assert may_go_on.wait(30)
        yield Block(empty, 3.0)

    results = promptly_in_threads(falls_silent(), lambda block: block.share, threads=4)
    assert [next(results) for _ in range(3)] == [0.0, 1.0, 2.0]
    assert not may_go_on.is_set()
    may_go_on.set()
    assert list(results) == [3.0]


@both
def test_a_stop_is_not_delayed_by_a_silent_source(ways: Ways) -> None:
    class Stop(BaseException):
        pass

    def on_signal(*_: object) -> None:
        raise Stop

    has_answered = threading.Event()

    def silent() -> Iterator[Block]:
        yield from numbered(1)
        has_answered.wait(60)

    before = signal.signal(signal.SIGALRM, on_signal)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(Stop):
            list(ways(silent(), lambda block: block.share, threads=2))
        assert not has_answered.is_set()
    finally:
        signal.signal(signal.SIGALRM, before)
        has_answered.set()


@both
def test_an_error_of_fetching_comes_behind_what_was_fetched_before(ways: Ways) -> None:
    def breaks() -> Iterator[Block]:
        yield from numbered(3)
        raise OSError("gone")

    found = []
    with pytest.raises(OSError, match="gone"):
        for result in ways(breaks(), lambda block: block.share, threads=4):
            found.append(result)
    assert found == [0.0, 1.0, 2.0]


@both
def test_no_thread_is_left_when_the_reader_leaves(ways: Ways) -> None:
    results = ways(numbered(50), lambda block: block.share, threads=3)
    next(results)
    results.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("blocks")]


def test_the_share_of_a_block_is_of_all_shards_by_their_sizes() -> None:
    shards = [Plain("a", 2, num_bytes=99), Plain("b", 1, num_bytes=299)]
    assert [block.share for block in blocks_of(shards)] == [0.125, 0.25, 1.0]
    assert [block.share for block in blocks_of([Plain("a", 1), Plain("b", 1)])] == [0.5, 1.0], "sizes unknown"


def test_the_size_of_a_source_is_known_when_that_of_each_shard_is() -> None:
    assert extent_of([Plain("a", 1, 5), Plain("b", 1, 6, num_files=2)]) == SourceSize(3, 11)
    assert extent_of([Plain("a", 1, 5), Plain("b", 1, None)]) == SourceSize(2, None)


def test_a_file_that_changed_makes_another_fingerprint(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text("x = 1\n")
    shard = Plain("a", 1, local_files=(str(path),))
    before = fingerprint(shard)
    assert fingerprint(shard) == before
    path.write_text("x = 2\n" * 2)
    assert fingerprint(shard) != before
    path.unlink()
    assert fingerprint(shard) != before
