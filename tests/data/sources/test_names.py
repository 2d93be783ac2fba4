from __future__ import annotations

import time

import pytest
from fsspec.utils import glob_translate
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.sources.names import LONGEST_NAME, Names, UnfitPattern, is_inside, is_plain, shown

PART = st.text("ab-*?.[!]0", min_size=1, max_size=6)
FILE = st.lists(st.text("ab-.0", min_size=1, max_size=4), min_size=1, max_size=4).map("/".join)


@pytest.mark.parametrize(
    "name", ["a", "a.txt", "data/train-*.parquet", "a b/ü.json", "a@b.json", "a/b:c.txt", ".x/y", "a/~b"]
)
def test_a_relative_path_is_inside(name: str) -> None:
    assert is_inside(name)


@pytest.mark.parametrize(
    "name",
    ["", "/a", "~", "~a/b", "..", "a/..", "../a", "a/../b", "a//b", "a/", ".", "a/./b", "a\\b", "a\0", "a\nb", "a\x7f", "a\x85",
     "a\u2028", "\ud800", "a::b", "::", "a://b", "x:y", "C:/a", "a/b://c", "data:x", "a" * (LONGEST_NAME + 1)],
)  # fmt: skip
def test_everything_else_is_not_inside(name: str) -> None:
    assert not is_inside(name)
    assert not is_plain(name)


@pytest.mark.parametrize("name", ["a*", "a?", "[a]", "a]"])
def test_a_file_with_the_name_of_a_pattern_is_not_plain(name: str) -> None:
    assert is_inside(name)
    assert not is_plain(name)


@given(st.lists(st.one_of(PART, st.just("**"), st.just("*")), min_size=1, max_size=4).map("/".join), st.sets(FILE))
def test_patterns_match_as_in_fsspec(pattern: str, names: set[str]) -> None:
    import re

    try:
        expression = re.compile(glob_translate(pattern))
    except ValueError:
        with pytest.raises(UnfitPattern):
            Names(names).matching(pattern)
        return
    if not any(letter in pattern for letter in "*?[]"):
        return
    expected = [name for name in sorted(names) if expression.match(name)]
    hidden = [sum(part.startswith(".") for part in path.split("/")) for path in [*expected, pattern]]
    assert Names(names).matching(pattern) == [n for n, own in zip(expected, hidden, strict=False) if own == hidden[-1]]


def test_a_pattern_of_many_stars_is_fast_and_too_many_patterns_are_refused() -> None:
    names = Names(["a" * 900] * 1_000)
    started = time.process_time()
    assert names.matching("*a" * 400 + "*b") == []
    assert names.matching("**/" * 300 + "b*") == []
    assert time.process_time() - started < 60, "backtracking over two hundred stars would take years"
    with pytest.raises(UnfitPattern, match="too many patterns"):
        for number in range(10_000):
            names.matching(f"b*{number}")


def test_a_shown_name_is_short_and_printable() -> None:
    assert shown("a\n\x1b[31m") == repr("a\n\x1b[31m") == "'a\\n\\x1b[31m'"
    assert len(shown("x" * 1_000)) < 70
