from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.data.filter.matching import Matcher
from pipeline.data.preview.scan import matched, scan
from pipeline.data.sources import BadRow, Piece, open_source
from pipeline.data.sources.shard import SourceSize
from tests.data.examples import Rows, batch, code_folder, row

KEYWORDS = ("pandas",)


def source() -> Rows:
    """Ten batches of ten rows; every second one is kept."""
    rows = [row(number, **({} if number % 2 else {"content": "nothing"})) for number in range(100)]
    return Rows(
        *(batch(rows[start : start + 10], bad=(BadRow("not JSON", f"f:{start}"),)) for start in range(0, 100, 10))
    )


def test_a_scan_ends_with_everything_and_says_so(tmp_path: Path) -> None:
    *_, last = scan(open_source(f"files:{code_folder(tmp_path, 30)}"), KEYWORDS)
    assert last.done
    assert (last.report["scanned"], last.report["kept"]) == (31, 30)
    assert len(last.samples) == 30
    assert last.report["seconds"] > 0


@pytest.mark.parametrize(
    ("limit", "scanned", "bad"), [(1, 1, 0), (10, 10, 0), (11, 10, 1), (37, 34, 3), (109, 100, 9), (1_000, 100, 10)]
)
def test_the_limit_is_exact_even_inside_a_batch_and_counts_bad_rows(limit: int, scanned: int, bad: int) -> None:
    *_, last = scan(source(), KEYWORDS, limit=limit)
    assert (last.report["scanned"], last.report["kept"]) == (scanned, scanned // 2)
    assert sum(last.report["bad_rows"].values()) == bad
    assert last.done


def test_a_source_of_nothing_but_bad_rows_is_not_read_for_ever() -> None:
    class Endless(Rows):
        def pieces(self) -> Iterator[Piece]:
            for number in range(1_000):
                assert number < 100, "it reads on"
                bad = (BadRow("not JSON", f"f:{number}"),) * 4
                yield Piece(lambda bad=bad: batch([], bad=bad))  # type: ignore[misc]

    *_, last = scan(Endless(), KEYWORDS, limit=10)
    assert (last.report["scanned"], last.report["bad_rows"], last.done) == (0, {"not JSON": 10}, True)


def test_the_first_kept_file_is_shown_at_once() -> None:
    first, *rest = scan(source(), KEYWORDS)
    assert not first.done
    assert (first.report["scanned"], len(first.samples)) == (10, 5)
    assert rest[-1].done


def test_a_scan_can_be_stopped_and_then_is_not_done() -> None:
    looks = iter(scan(source(), KEYWORDS, should_stop=lambda: True))
    only = next(looks)
    assert not only.done
    assert only.report["scanned"] == 10
    assert list(looks) == []


def test_an_empty_source_still_ends_with_a_look(tmp_path: Path) -> None:
    (only,) = scan(open_source(f"files:{tmp_path}"), KEYWORDS)
    assert only.done
    assert (only.report["scanned"], only.samples) == (0, [])


def test_as_many_are_kept_as_asked_for_and_not_one_row_more_is_read() -> None:
    for wanted in (1, 5, 6, 49, 50, 80):
        parts = list(matched(source().shards(), Matcher(KEYWORDS), max_kept=wanted))
        assert sum(len(part.rows) for part in parts) == min(wanted, 50)
        assert sum(len(part.batch.rows) for part in parts) == min(2 * wanted, 100)


def test_a_scan_says_at_once_how_large_the_source_is(tmp_path: Path) -> None:
    code_folder(tmp_path, 30)
    size = sum(path.stat().st_size for path in tmp_path.rglob("*.py"))
    first, *_ = scan(open_source(f"files:{tmp_path}"), KEYWORDS, limit=1)
    assert first.extent == SourceSize(31, size)
    installed, *_ = scan(open_source("installed"), KEYWORDS, limit=1)
    assert installed.extent is not None
    assert installed.extent.num_files > 1_000
