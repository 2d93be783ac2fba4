from __future__ import annotations

import json

import pytest

from pipeline.data.filter.matching import Matcher
from pipeline.data.report.scan_report import MAX_BAD_EXAMPLES, MAX_NAMES, Report, interval
from pipeline.data.sources import BadRow, Batch
from tests.data.examples import batch, row

TEXTS = ["import pandas", "# pandas", "import pandas, sklearn\nimport sklearn", "nothing", "sklearn"]


def report_of(*batches: Batch, keywords: tuple[str, ...] = ("pandas", "sklearn")) -> Report:
    report = Report(keywords)
    for one in batches:
        report.add(Matcher(report.keywords).matched(one))
    return report


def test_rates_are_of_what_could_be_read() -> None:
    rows = [row(number, content=text) for number, text in enumerate(TEXTS)]
    bad = (BadRow("not JSON", "f:1"), BadRow("not JSON", "f:9"), BadRow("not UTF-8", "f:2"))
    found = report_of(batch(rows, bad=bad, num_skipped=4)).to_dict()
    assert (found["scanned"], found["kept"], found["keep_rate"]) == (5, 4, 0.8)
    assert found["keywords"] == {
        "pandas": {"files": 3, "rate": 0.6, "imported": 2, "mentioned": 1, "first_line": 1},
        "sklearn": {"files": 2, "rate": 0.4, "imported": 1, "mentioned": 1, "first_line": 1},
    }
    assert found["bad_rows"] == {"not JSON": 2, "not UTF-8": 1}
    assert found["bad_examples"][0] == {"reason": "not JSON", "where": "f:1"}
    assert found["skipped"] == 4
    assert found["bytes"] == sum(map(len, TEXTS))
    assert found["kept_bytes"] == sum(map(len, TEXTS)) - len("nothing")


def test_overlap_counts_each_file_once_by_its_exact_keywords() -> None:
    found = report_of(batch([row(number, content=text) for number, text in enumerate(TEXTS)])).to_dict()
    assert found["overlap"] == [
        {"keywords": ["pandas"], "files": 2},
        {"keywords": ["sklearn"], "files": 1},
        {"keywords": ["pandas", "sklearn"], "files": 1},
    ]
    assert sum(part["files"] for part in found["overlap"]) == found["kept"]


def test_the_largest_repositories_and_licences_are_of_kept_files_only() -> None:
    names = ["mit", "MIT", "MIT License"]
    rows = [row(number, repo_name="big", license=name) for number, name in enumerate(names)]
    rows += [row(9, repo_name="small", license=""), row(10, repo_name="other", content="x", license="gpl")]
    found = report_of(batch(rows)).to_dict()
    assert found["repositories"] == [{"name": "big", "files": 3}, {"name": "small", "files": 1}]
    assert found["licenses"] == [{"name": "MIT", "files": 3}, {"name": "", "files": 1}]


def test_how_the_rows_were_cut_into_batches_changes_nothing() -> None:
    rows = [row(number, content=TEXTS[number % 5]) for number in range(40)]
    whole = report_of(batch(rows))
    parts = report_of(*(batch(rows[number : number + 7]) for number in range(0, 40, 7)))
    assert whole.to_dict() == parts.to_dict()


def test_reports_of_parts_add_up_to_that_of_the_whole_also_through_json() -> None:
    rows = [row(number, content=TEXTS[number % 5]) for number in range(40)]
    bad = tuple(BadRow("not JSON", f"f:{number}") for number in range(15))
    whole = report_of(batch(rows[:20], bad=bad), batch(rows[20:], bad=bad))
    first, second = report_of(batch(rows[:20], bad=bad)), report_of(batch(rows[20:], bad=bad))
    first.merge(Report.from_state(json.loads(json.dumps(second.state()))))
    assert first.to_dict() == whole.to_dict()
    assert first.state() == whole.state()


@pytest.mark.parametrize(
    ("hits", "tries", "low", "high"),
    [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (10, 10, 0.7225, 1.0), (326, 10_000, 0.0293, 0.0363)],
)
def test_the_interval_is_wilsons(hits: int, tries: int, low: float, high: float) -> None:
    assert interval(hits, tries) == [pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5)]
    assert interval(0, 0) is None


def test_the_first_line_is_the_median_over_files() -> None:
    texts = ["pandas", "\n\npandas pandas", "\r\n" * 8 + "x pandas"]
    found = report_of(batch([row(number, content=text) for number, text in enumerate(texts)])).to_dict()
    assert found["keywords"]["pandas"]["first_line"] == 3
    assert found["keywords"]["sklearn"]["first_line"] is None


@pytest.mark.parametrize(("match", "line"), [("substring", 1), ("identifier", 2), ("import", 3)])
def test_the_first_line_is_that_of_a_match_of_the_requested_kind(match: str, line: int) -> None:
    rows = batch([row(0, content="geopandas\n# pandas\nimport pandas\n")])
    report = Report(["pandas"])
    report.add(Matcher(["pandas"], match).matched(rows))
    assert report.to_dict()["keywords"]["pandas"]["first_line"] == line


def test_lengths_are_counted_in_doubling_classes_for_kept_and_for_all_files() -> None:
    rows = [row(number, content="x" * size) for number, size in enumerate([1, 2, 3, 4, 5])]
    found = report_of(batch([*rows, row(9, content="pandas")])).to_dict()
    assert found["lengths"] == [
        {"up_to": 1, "files": 1, "kept": 0},
        {"up_to": 2, "files": 1, "kept": 0},
        {"up_to": 4, "files": 2, "kept": 0},
        {"up_to": 8, "files": 2, "kept": 1},
    ]


def test_pairs_of_keywords_count_every_file_that_has_both() -> None:
    texts = ["pandas sklearn mean", "pandas mean", "sklearn"]
    found = report_of(
        batch([row(n, content=text) for n, text in enumerate(texts)]), keywords=("pandas", "sklearn", "mean")
    ).to_dict()
    assert {tuple(pair["keywords"]): pair["files"] for pair in found["together"]} == {
        ("pandas", "mean"): 2,
        ("pandas", "sklearn"): 1,
        ("sklearn", "mean"): 1,
    }


def test_an_empty_report_is_json_and_divides_by_nothing() -> None:
    found = json.loads(json.dumps(report_of().to_dict(), allow_nan=False))
    assert (found["scanned"], found["keep_rate"], found["bytes_per_second"]) == (0, 0.0, None)


def test_long_lists_are_truncated_and_counts_are_not() -> None:
    rows = [row(number, repo_name=f"repo{number}") for number in range(50)]
    bad = tuple(BadRow("not JSON", f"f:{number}") for number in range(50))
    found = report_of(batch(rows, bad=bad)).to_dict()
    assert len(found["repositories"]) == MAX_NAMES
    assert len(found["bad_examples"]) == MAX_BAD_EXAMPLES
    assert found["bad_rows"] == {"not JSON": 50}


def test_a_keyword_that_names_no_module_has_no_import_figures() -> None:
    found = report_of(batch([row(1)]), keywords=("frame['",)).to_dict()
    assert found["keywords"]["frame['"] == {
        "files": 1,
        "rate": 1.0,
        "imported": None,
        "mentioned": None,
        "first_line": 5,
    }


def test_the_overlaps_of_fifty_keywords_are_still_distinguished() -> None:
    words = tuple(f"w{number:02}" for number in range(50))
    found = report_of(batch([row(1, content="w00 w49")]), keywords=words).to_dict()
    assert found["overlap"] == [{"keywords": ["w00", "w49"], "files": 1}]
