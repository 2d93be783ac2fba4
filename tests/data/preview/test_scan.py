from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.data.preview.scan import Ended, scan
from pipeline.data.sources import BadRow, Block, Shard, open_source
from pipeline.data.sources.shard import SourceSize, never
from tests.data.examples import Rows, batch, code_folder, row

KEYWORDS = ("pandas",)


def source() -> Rows:
    """Ten batches of ten rows; every second one is kept."""
    rows = [row(number, **({} if number % 2 else {"content": "nothing"})) for number in range(100)]
    return Rows(
        *(batch(rows[start : start + 10], bad=(BadRow("not JSON", f"f:{start}"),)) for start in range(0, 100, 10))
    )


def test_a_scan_ends_with_all_results_and_is_done(tmp_path: Path) -> None:
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


def test_a_source_with_only_bad_rows_is_not_read_forever() -> None:
    class Endless(Rows):
        def blocks(self) -> Iterator[Block]:
            for number in range(1_000):
                assert number < 100, "it continues after the limit"
                bad = (BadRow("not JSON", f"f:{number}"),) * 4
                yield Block(lambda bad=bad: batch([], bad=bad))  # type: ignore[misc]

    *_, last = scan(Endless(), KEYWORDS, limit=10)
    assert (last.report["scanned"], last.report["bad_rows"], last.done) == (0, {"not JSON": 10}, True)


def test_the_first_kept_file_is_yielded_immediately() -> None:
    first, *rest = scan(source(), KEYWORDS)
    assert not first.done
    assert (first.report["scanned"], len(first.samples)) == (10, 5)
    assert rest[-1].done


def test_a_stopped_scan_is_not_done() -> None:
    asked = iter([False, True])
    (only,) = scan(source(), KEYWORDS, should_stop=lambda: next(asked))
    assert not only.done
    assert only.report["scanned"] == 10


def test_a_scan_of_an_empty_source_yields_once(tmp_path: Path) -> None:
    (only,) = scan(open_source(f"files:{tmp_path}"), KEYWORDS)
    assert only.done
    assert (only.report["scanned"], only.samples) == (0, [])


class Listing(Rows):
    """A source whose list of files never ends by itself."""

    def shards(self, is_over: Callable[[], bool] = never) -> list[Shard]:
        for _ in range(2_000):
            if is_over():
                return [self]
            time.sleep(0.01)
        raise AssertionError("the listing was not ended")


def test_a_scan_keeps_what_it_counted_until_its_time_limit() -> None:
    class Slow(Rows):
        def blocks(self) -> Iterator[Block]:
            for number in range(1_000):
                time.sleep(0.02)
                yield Block(lambda number=number: batch([row(number)]))  # type: ignore[misc]

    *_, last = scan(Slow(), KEYWORDS, max_seconds=1)
    assert (last.ended, last.done) == (Ended("seconds", 1), False)
    assert 0 < last.report["scanned"] < 1_000


def test_listing_the_files_counts_against_the_time_limit() -> None:
    *_, last = scan(Listing(*source()._batches), KEYWORDS, max_seconds=0.2)
    assert last.ended == Ended("seconds", 0.2)
    assert not last.done and last.report["scanned"] == 0


def test_a_request_to_stop_ends_the_listing() -> None:
    asked = []
    *_, last = scan(Listing(*source()._batches), KEYWORDS, should_stop=lambda: len(asked) > 5 or asked.append(None))
    assert not last.done and last.ended is None


def test_the_first_result_has_the_size_of_the_source(tmp_path: Path) -> None:
    code_folder(tmp_path, 30)
    size = sum(path.stat().st_size for path in tmp_path.rglob("*.py"))
    first, *_ = scan(open_source(f"files:{tmp_path}"), KEYWORDS, limit=1)
    assert first.extent == SourceSize(31, size)
    installed, *_ = scan(open_source("installed"), KEYWORDS, limit=1)
    assert installed.extent is not None
    assert installed.extent.num_files > 1_000
