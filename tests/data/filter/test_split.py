from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data.filter.split import Splitter, place_of
from tests.data.examples import batch, row


def divided(rows: list[dict[str, str]], share: float, batch_rows: int) -> dict[str, list[str]]:
    """The paths of each split, in the order of arrival."""
    splitter = Splitter(share)
    parts: dict[str, list[pl.DataFrame]] = {"train": [], "validation": []}
    for start in range(0, len(rows), batch_rows):
        for split, part in splitter.divide(batch(rows[start : start + batch_rows]).rows).items():
            parts[split].append(part)
    for split, part in splitter.rest().items():
        parts[split].append(part)
    return {split: list(pl.concat(frames)["path"]) for split, frames in parts.items()}


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 60), st.floats(0.001, 0.5), st.integers(1, 20))
def test_every_file_is_in_one_split_and_neither_is_empty(num_files: int, share: float, batch_rows: int) -> None:
    found = divided([row(number) for number in range(num_files)], share, batch_rows)
    assert found["train"]
    assert found["validation"]
    assert sorted(found["train"] + found["validation"]) == sorted(row(number)["path"] for number in range(num_files))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 400), min_size=100, max_size=200, unique=True), st.integers(1, 50))
def test_a_files_split_depends_on_nothing_but_the_file(numbers: list[int], batch_rows: int) -> None:
    rows = [row(number) for number in numbers]
    expected = {value["path"] for value in rows if place_of(value["repo_name"], value["path"], value["content"]) < 0.2}
    assert expected, "a hundred files with a share of 0.2"
    assert set(divided(rows, 0.2, batch_rows)["validation"]) == expected


def test_the_share_is_about_the_requested_one() -> None:
    found = divided([row(number) for number in range(5_000)], 0.05, 500)
    assert 200 <= len(found["validation"]) <= 300


@pytest.mark.parametrize("names", [{"repo_name": "", "path": ""}, {"repo_name": "", "path": "setup.py"}])
def test_files_of_the_same_name_are_distinguished_by_their_text(names: dict[str, str]) -> None:
    rows = [row(number, **names) for number in range(1_000)]
    assert 50 <= len(divided(rows, 0.1, 100)["validation"]) <= 150


def test_two_copies_of_one_file_still_make_two_splits() -> None:
    found = divided([row(1), row(1)], 0.05, 2)
    assert (len(found["train"]), len(found["validation"])) == (1, 1)
