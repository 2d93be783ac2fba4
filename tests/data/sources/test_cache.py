from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.data.preview.scan import scan
from pipeline.data.sources import BadRow, Block, open_source
from pipeline.data.sources.cache import SHARD_BYTES, CachedSource, Memory, memory_of
from tests.data.examples import Rows, batch, code_folder, row


class Counting(Rows):
    """Counts the blocks that are read."""

    def __init__(self, num_batches: int = 6) -> None:
        super().__init__(*(batch([row(number)]) for number in range(num_batches)))
        self.num_read = 0

    def __repr__(self) -> str:
        return "counting"

    def blocks(self) -> Iterator[Block]:
        for block in super().blocks():
            yield Block(lambda block=block: self._read(block), block.share)  # type: ignore[misc]

    def _read(self, block: Block) -> object:
        self.num_read += 1
        return block.read()


def contents(source: CachedSource) -> list[str]:
    return [text for one in source.batches() for text in one.rows["content"]]


def test_cached_rows_are_not_read_again_and_are_the_same() -> None:
    source, memory = Counting(), Memory()
    first = contents(CachedSource(source, memory))
    again = contents(CachedSource(source, memory))
    assert first == again == [row(number)["content"] for number in range(6)]
    assert source.num_read == 6
    contents(CachedSource(source, Memory()))
    assert source.num_read == 12, "control: another cache is empty"


def test_a_scan_that_ended_early_is_continued_from_the_cache() -> None:
    source, memory = Counting(), Memory()
    parts = iter(CachedSource(source, memory).batches())
    next(parts), next(parts)
    assert source.num_read == 2
    assert len(contents(CachedSource(source, memory))) == 6
    assert source.num_read == 6


def test_rows_that_do_not_fit_are_read_again_and_none_is_lost() -> None:
    size = memory_of(batch([row(0)]))
    source, memory = Counting(), Memory(budget_bytes=3 * size + size // 2)
    for _ in range(2):
        assert len(contents(CachedSource(source, memory))) == 6
    assert source.num_read == 6 + 3


def test_the_least_recently_used_shard_is_evicted_first(tmp_path: Path) -> None:
    one, two = (open_source(f"files:{code_folder(tmp_path / name, 20)}") for name in ("one", "two"))
    size = SHARD_BYTES + sum(memory_of(part) for part in one.batches())
    memory = Memory(budget_bytes=size + size // 2)
    for source in (one, two):
        contents(CachedSource(source, memory))
    assert not memory.recall(CachedSource(one, memory).shards()[0]._key).batches  # type: ignore[attr-defined]
    assert memory.recall(CachedSource(two, memory).shards()[0]._key).is_whole  # type: ignore[attr-defined]


def test_other_keywords_are_counted_without_opening_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, memory = code_folder(tmp_path / "code", 30), Memory()
    source = CachedSource(open_source(f"files:{folder}"), memory)
    *_, first = scan(source, ["pandas"])
    opened: list[Path] = []
    read_bytes = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: opened.append(path) or read_bytes(path))
    *_, second = scan(source, ["numpy"])
    assert (first.report["kept"], second.report["kept"], opened) == (30, 1, [])
    (folder / "other.py").write_text("import numpy as np, pandas\n")
    *_, third = scan(source, ["pandas"])
    assert third.report["kept"] == 31, "a file of another size is noticed"
    assert opened, "control"


def bad_rows(number: int) -> Rows:
    """A source with only bad rows, 5,000 per batch; each number gives a different source."""
    made = Rows(
        *(batch([], bad=tuple(BadRow("not JSON", f"f{number}:{part}-{n}") for n in range(5_000))) for part in range(4))
    )
    made.spec = f"bad {number}"
    return made


def test_bad_rows_and_empty_shards_count_against_the_budget() -> None:
    memory = Memory(budget_bytes=4_000_000)
    tracemalloc.start()
    for number in range(30):
        assert len(list(CachedSource(bad_rows(number), memory).batches())) == 4
    for number in range(5_000):
        memory.recall(f"a source of which nothing was read {number}")
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 6_000_000


def test_all_columns_count_against_the_budget() -> None:
    source, memory = Rows(*(batch([row(number, path="x" * 1_000_000)]) for number in range(4))), Memory(2_500_000)
    list(CachedSource(source, memory).batches())
    assert len(memory.recall(CachedSource(source, memory).shards()[0]._key).batches) == 2  # type: ignore[attr-defined]


def test_bad_rows_and_batches_take_no_more_memory_than_counted() -> None:
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    made = batch([], bad=tuple(BadRow("not JSON", f"file:{n}") for n in range(10_000)))
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < memory_of(made)


def test_listing_a_cached_source_ends_once_it_is_over(tmp_path: Path) -> None:
    source = CachedSource(open_source(f"files:{code_folder(tmp_path, 4)}"), Memory())
    assert source.shards(lambda: True) == []
    assert [shard.num_files for shard in source.shards()] == [5], "control"
