from __future__ import annotations

import json

from pipeline.data.matching import Matcher
from pipeline.data.report import MAX_BAD_EXAMPLES, MAX_NAMES, Report
from pipeline.data.sources import BadRow, Batch
from tests.data.examples import batch, row

TEXTS = ["import pandas", "# pandas", "import pandas, sklearn\nimport sklearn", "nothing", "sklearn"]


def report_of(*batches: Batch, keywords: tuple[str, ...] = ("pandas", "sklearn")) -> Report:
    report = Report(keywords)
    for one in batches:
        report.add(one, Matcher(report.keywords).hits(one.rows["content"]))
    return report


def test_rates_are_of_what_could_be_read() -> None:
    rows = [row(number, content=text) for number, text in enumerate(TEXTS)]
    bad = (BadRow("not JSON", "f:1"), BadRow("not JSON", "f:9"), BadRow("not UTF-8", "f:2"))
    found = report_of(batch(rows, bad=bad, num_skipped=4)).to_dict()
    assert (found["scanned"], found["kept"], found["keep_rate"]) == (5, 4, 0.8)
    assert found["keywords"] == {
        "pandas": {"files": 3, "rate": 0.6, "imported": 2, "mentioned": 1},
        "sklearn": {"files": 2, "rate": 0.4, "imported": 1, "mentioned": 1},
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
    rows = [row(number, repo_name="big", license="mit") for number in range(3)]
    rows += [row(9, repo_name="small", license=""), row(10, repo_name="other", content="x", license="gpl")]
    found = report_of(batch(rows)).to_dict()
    assert found["repositories"] == [{"name": "big", "files": 3}, {"name": "small", "files": 1}]
    assert found["licenses"] == [{"name": "mit", "files": 3}, {"name": "", "files": 1}]


def test_how_the_rows_were_cut_into_batches_changes_nothing() -> None:
    rows = [row(number, content=TEXTS[number % 5]) for number in range(40)]
    whole = report_of(batch(rows))
    parts = report_of(*(batch(rows[number : number + 7]) for number in range(0, 40, 7)))
    assert whole.to_dict() == parts.to_dict()


def test_an_empty_report_is_json_and_divides_by_nothing() -> None:
    found = json.loads(json.dumps(report_of().to_dict(), allow_nan=False))
    assert (found["scanned"], found["keep_rate"], found["bytes_per_second"]) == (0, 0.0, None)


def test_long_lists_are_cut_and_counts_are_not() -> None:
    rows = [row(number, repo_name=f"repo{number}") for number in range(50)]
    bad = tuple(BadRow("not JSON", f"f:{number}") for number in range(50))
    found = report_of(batch(rows, bad=bad)).to_dict()
    assert len(found["repositories"]) == MAX_NAMES
    assert len(found["bad_examples"]) == MAX_BAD_EXAMPLES
    assert found["bad_rows"] == {"not JSON": 50}


def test_a_keyword_that_names_no_module_has_no_import_figures() -> None:
    found = report_of(batch([row(1)]), keywords=("frame['",)).to_dict()
    assert found["keywords"]["frame['"] == {"files": 1, "rate": 1.0, "imported": None, "mentioned": None}


def test_fifty_keywords_still_tell_their_overlaps_apart() -> None:
    words = tuple(f"w{number:02}" for number in range(50))
    found = report_of(batch([row(1, content="w00 w49")]), keywords=words).to_dict()
    assert found["overlap"] == [{"keywords": ["w00", "w49"], "files": 1}]
