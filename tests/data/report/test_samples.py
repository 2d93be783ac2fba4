from __future__ import annotations

from collections import Counter

import pytest

from pipeline.data.filter.matching import Matcher
from pipeline.data.report.samples import LONGEST_SAMPLE, Sample, Samples
from tests.data.examples import batch, row

ROWS = [row(number, content="import pandas" if number % 10 else "mean of pandas") for number in range(400)]


def samples_of(rows: list[dict[str, str]], most: int = 50, batch_rows: int = 8, seed: int = 0) -> Samples:
    samples, matcher = Samples(most, max_of_each=10, seed=seed), Matcher(["pandas", "mean"])
    for start in range(0, len(rows), batch_rows):
        samples.add(matcher.matched(batch(rows[start : start + batch_rows])))
    return samples


def paths(samples: list[Sample]) -> list[str]:
    return [sample.path for sample in samples]


def test_every_part_of_the_source_is_as_likely_to_be_shown() -> None:
    shown = Counter(
        int(sample.path[8:-3]) // 100
        for seed in range(40)
        for sample in samples_of(ROWS, most=20, batch_rows=100, seed=seed)._all
    )
    assert shown.total() == 800
    # 800 draws over four equal parts: 200 each are expected, with a standard deviation of 12.
    assert all(140 < shown[quarter] < 260 for quarter in range(4))


def test_files_without_names_are_drawn_by_their_text() -> None:
    rows = [{**row(number, content=f"import pandas  # {number}"), "path": "", "repo_name": ""} for number in range(400)]
    shown = [int(sample.content.split()[-1]) for sample in samples_of(rows).to_list()]
    assert len({number // 100 for number in shown}) == 4, "not only the first ones"


def test_a_seed_decides_the_sample_and_another_one_draws_another() -> None:
    assert paths(samples_of(ROWS).to_list()) == paths(samples_of(ROWS).to_list())
    assert paths(samples_of(ROWS).to_list()) != paths(samples_of(ROWS, seed=1).to_list())


@pytest.mark.parametrize("batch_rows", [1, 7, 400])
def test_the_batch_size_changes_nothing(batch_rows: int) -> None:
    assert samples_of(ROWS, batch_rows=batch_rows).to_list() == samples_of(ROWS).to_list()


def test_samples_of_parts_give_the_sample_of_the_whole() -> None:
    parts = [samples_of(ROWS[start : start + 100]) for start in (0, 100, 200, 300)]
    for other in parts[1:]:
        parts[0].merge(other)
    assert parts[0].to_list() == samples_of(ROWS).to_list()


def test_a_rare_keyword_has_samples_of_its_own() -> None:
    shown = samples_of(ROWS, most=5).to_list()
    assert sum("mean" in sample.keywords for sample in shown) == 10
    assert len(shown) <= 5 + 10 + 10


def test_only_kept_files_are_shown_with_the_keywords_they_mention() -> None:
    rows = [row(1, content="nothing"), row(2, content="pandas"), row(3)]
    found = {sample.path: sample.keywords for sample in samples_of(rows).to_list()}
    assert found == {"src/file2.py": ("pandas",), "src/file3.py": ("pandas", "mean")}


def test_a_sample_carries_its_provenance_as_json() -> None:
    (only,) = samples_of([row(3)]).to_list()
    assert only.to_dict() == {**row(3), "keywords": ("pandas", "mean")}


def test_of_a_very_long_file_only_the_beginning_is_kept() -> None:
    text = "pandas " + "x" * 1_000_000
    (only,) = samples_of([row(1, content=text, size=str(len(text)))]).to_list()
    assert only.content == text[:LONGEST_SAMPLE]
    assert only.size == str(len(text)), "the size that the source states"
