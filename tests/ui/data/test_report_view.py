"""Chart data and sentences of a report."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.config.schema import COURSE_KEPT_RATE
from pipeline.data.preview.scan import Scan
from pipeline.data.report.scan_report import Report, interval
from pipeline.ui.data import report_view
from pipeline.ui.data.report_view import RateAxis


def report(kept: int = 0, scanned: int = 1_000, **changes: Any) -> dict[str, Any]:
    rate = {"kept": kept, "scanned": scanned, "keep_rate": kept / scanned}
    return {**Report(["pandas"]).to_dict(), **rate, "keep_rate_interval": interval(kept, scanned), **changes}


@pytest.mark.parametrize(("kept", "said"), [(0, "less than"), (33, "lies within"), (100, "more than"), (1_000, "more")])
def test_the_rate_is_compared_with_the_courses(kept: int, said: str) -> None:
    axis = RateAxis.of(report(kept))
    assert axis is not None
    assert said in axis.words
    assert "3.26 %" in axis.words
    assert 0 <= axis.low <= axis.rate + 1e-9 <= axis.high + 2e-9 <= 1 + 3e-9
    assert axis.course * axis.end == pytest.approx(COURSE_KEPT_RATE)
    assert 0 < axis.course < 1


def test_there_is_no_axis_before_a_file_was_read() -> None:
    assert RateAxis.of(Report(["pandas"]).to_dict()) is None


def test_very_short_and_very_long_files_share_a_column_and_nothing_is_lost() -> None:
    lengths = [{"up_to": 2**n, "files": n + 1, "kept": n} for n in range(25)]
    columns = report_view.length_columns(report(lengths=lengths))
    assert [column.up_to for column in columns] == [2**n for n in range(6, 21)]
    assert sum(column.files for column in columns) == sum(range(26))
    assert sum(column.kept_share for column in columns) == pytest.approx(1)
    assert [column.is_last for column in columns] == [False] * 14 + [True]
    assert report_view.length_columns(report()) == []


def test_the_lengths_are_summarized_by_their_medians() -> None:
    lengths = [
        {"up_to": 1024, "files": 6, "kept": 1},
        {"up_to": 2048, "files": 0, "kept": 0},
        {"up_to": 4096, "files": 4, "kept": 4},
    ]
    assert report_view.length_words(report(lengths=lengths)) == (
        "Half of all files are up to 1 kB long, half of the kept ones up to 4 kB."
    )
    assert report_view.length_words(report()) == ""


@pytest.mark.parametrize(
    ("repositories", "said"),
    [
        ({"pandas": 71, "x": 29}, "71 % of the kept files are pandas itself"),
        ({"numpy": 31, "x": 30}, "31 % of the kept files are from one repository, numpy:"),
        ({"x": 100}, "All kept files are from one repository, x."),
        ({"x": 30, "y": 30}, ""),
        ({"": 90, "y": 10}, ""),
        ({}, ""),
    ],
)
def test_a_dominant_repository_is_named(repositories: dict[str, int], said: str) -> None:
    rows = [{"name": name, "files": files} for name, files in repositories.items()]
    found = report_view.dominance(report(100, repositories=rows))
    assert found.startswith(said)
    assert bool(found) == bool(said)


def test_progress_is_that_of_the_source_or_of_the_limit_whichever_is_larger() -> None:
    found = report(scanned=90, seconds=9.0, bad_rows={"not JSON": 10})
    assert report_view.share_done(Scan(found, [], False, 0.25), 1_000) == 0.25
    assert report_view.share_done(Scan(found, [], False, 0.25), 200) == 0.5
    assert report_view.share_done(Scan(found, [], False, None), 0) == 0
    assert report_view.seconds_left(Scan(found, [], False, 0.25), 1_000) == pytest.approx(27)
    assert report_view.seconds_left(Scan({**found, "seconds": 0.2}, [], False, 0.25), 1_000) is None


def test_bad_rows_come_with_a_few_locations_each() -> None:
    examples = [{"reason": "not JSON", "where": f"rows.jsonl:{n}"} for n in range(9)]
    ((reason, files, locations),) = report_view.bad_rows(report(bad_rows={"not JSON": 12}, bad_examples=examples))
    assert (reason, files, locations) == ("not JSON", 12, [f"rows.jsonl:{n}" for n in range(report_view.MAX_EXAMPLES)])


@pytest.mark.parametrize(("max_files", "is_said"), [(None, False), (41, False), (40, True), (5, True)])
def test_a_report_of_more_files_than_a_corpus_takes_says_so(max_files: int | None, is_said: bool) -> None:
    removed = {"a long line": {"files": 10, "bytes": 1, "examples": []}}
    said = report_view.limited(report(50, removed=removed, max_files=max_files))
    assert said == (
        f"A corpus takes the first {max_files} of the files that match; these numbers count "
        "all that was read for them, which may be more."
        if is_said
        else ""
    )


def test_the_warnings_of_a_corpus_stand_before_those_of_its_report() -> None:
    found = report(50, validation=None, removed={}, max_files=5, done=True)
    assert report_view.parts(found, "substring", ["of the corpus"])["warnings"] == [
        "of the corpus",
        report_view.limited(found),
    ]
