from __future__ import annotations

from collections import Counter

from pipeline.data.matching import Matcher
from pipeline.data.samples import PER_REPOSITORY, Sample, Samples
from tests.data.examples import batch, row


def samples_of(rows: list[dict[str, str]], max_samples: int, batch_rows: int = 8) -> list[Sample]:
    samples, matcher = Samples(max_samples), Matcher(["pandas", "mean"])
    for start in range(0, len(rows), batch_rows):
        one = batch(rows[start : start + batch_rows])
        samples.add(one, matcher.hits(one.rows["content"]))
    return samples.to_list()


def test_no_repository_fills_the_list_while_there_are_others() -> None:
    rows = [row(number, repo_name="pandas") for number in range(100)]
    rows += [row(number, repo_name=f"other{number % 20}") for number in range(100, 160)]
    shown = Counter(sample.repo_name for sample in samples_of(rows, max_samples=50))
    assert shown.total() == 50
    assert max(shown.values()) == PER_REPOSITORY


def test_a_single_repository_may_fill_it() -> None:
    rows = [row(number, repo_name="mine") for number in range(100)]
    assert [sample.path for sample in samples_of(rows, max_samples=10)] == [
        f"src/file{number}.py" for number in range(10)
    ]


def test_only_kept_files_are_shown_with_the_keywords_they_mention() -> None:
    rows = [row(1, content="nothing"), row(2, content="pandas"), row(3)]
    assert [sample.keywords for sample in samples_of(rows, max_samples=5)] == [("pandas",), ("pandas", "mean")]


def test_a_sample_carries_its_provenance_as_json() -> None:
    (only,) = samples_of([row(3)], max_samples=1)
    assert only.to_dict() == {**row(3), "keywords": ("pandas", "mean")}
