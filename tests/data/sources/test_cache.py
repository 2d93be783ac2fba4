from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.data.preview.scan import scan
from pipeline.data.sources import BadRow, Piece, open_source
from pipeline.data.sources.cache import SHARD_BYTES, Memory, Remembered, memory_of
from tests.data.examples import Rows, batch, code_folder, row


class Counting(Rows):
    """Counts the pieces that were read."""

    def __init__(self, num_batches: int = 6) -> None:
        super().__init__(*(batch([row(number)]) for number in range(num_batches)))
        self.num_read = 0

    def __repr__(self) -> str:
        return "counting"

    def pieces(self) -> Iterator[Piece]:
        for piece in super().pieces():
            yield Piece(lambda piece=piece: self._read(piece), piece.share)  # type: ignore[misc]

    def _read(self, piece: Piece) -> object:
        self.num_read += 1
        return piece.read()


def contents(source: Remembered) -> list[str]:
    return [text for one in source.batches() for text in one.rows["content"]]


def test_what_was_read_is_not_read_again_and_is_the_same() -> None:
    source, memory = Counting(), Memory()
    first = contents(Remembered(source, memory))
    again = contents(Remembered(source, memory))
    assert first == again == [row(number)["content"] for number in range(6)]
    assert source.num_read == 6
    contents(Remembered(source, Memory()))
    assert source.num_read == 12, "control: another memory knows nothing"


def test_a_look_that_ended_early_goes_on_where_it_was() -> None:
    source, memory = Counting(), Memory()
    parts = iter(Remembered(source, memory).batches())
    next(parts), next(parts)
    assert source.num_read == 2
    assert len(contents(Remembered(source, memory))) == 6
    assert source.num_read == 6


def test_what_does_not_fit_is_read_again_and_nothing_is_lost() -> None:
    size = memory_of(batch([row(0)]))
    source, memory = Counting(), Memory(budget_bytes=3 * size + size // 2)
    for _ in range(2):
        assert len(contents(Remembered(source, memory))) == 6
    assert source.num_read == 6 + 3


def test_the_shard_used_longest_ago_is_forgotten_first(tmp_path: Path) -> None:
    one, two = (open_source(f"files:{code_folder(tmp_path / name, 20)}") for name in ("one", "two"))
    size = SHARD_BYTES + sum(memory_of(part) for part in one.batches())
    memory = Memory(budget_bytes=size + size // 2)
    for source in (one, two):
        contents(Remembered(source, memory))
    assert not memory.recall(Remembered(one, memory).shards()[0]._key).batches  # type: ignore[attr-defined]
    assert memory.recall(Remembered(two, memory).shards()[0]._key).is_whole  # type: ignore[attr-defined]


def test_other_keywords_are_counted_without_opening_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, memory = code_folder(tmp_path / "code", 30), Memory()
    source = Remembered(open_source(f"files:{folder}"), memory)
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
    """A source of nothing but bad rows, 5,000 to a batch; every number is another source."""
    made = Rows(
        *(batch([], bad=tuple(BadRow("not JSON", f"f{number}:{part}-{n}") for n in range(5_000))) for part in range(4))
    )
    made.spec = f"bad {number}"
    return made


def test_bad_rows_and_what_is_empty_count_against_the_budget() -> None:
    memory = Memory(budget_bytes=4_000_000)
    tracemalloc.start()
    for number in range(30):
        assert len(list(Remembered(bad_rows(number), memory).batches())) == 4
    for number in range(5_000):
        memory.recall(f"a source of which nothing was read {number}")
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 6_000_000


def test_the_other_columns_count_too() -> None:
    source, memory = Rows(*(batch([row(number, path="x" * 1_000_000)]) for number in range(4))), Memory(2_500_000)
    list(Remembered(source, memory).batches())
    assert len(memory.recall(Remembered(source, memory).shards()[0]._key).batches) == 2  # type: ignore[attr-defined]


def test_a_bad_row_and_a_batch_take_no_more_than_they_are_counted_as() -> None:
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    made = batch([], bad=tuple(BadRow("not JSON", f"file:{n}") for n in range(10_000)))
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < memory_of(made)
