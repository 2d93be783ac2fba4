"""Lone surrogates, which no file and no response can hold, are found wherever they are."""

from __future__ import annotations

import pytest

from pipeline.core.text import surrogate_at, with_unseen_shown, without_errno


@pytest.mark.parametrize(
    ("text", "index"),
    [("", None), ("plain", None), ("pärröt 🦜", None), ("\ud800", 0), ("ab\udfff", 2), ("🦜\ud83e x", 1)],
)
def test_the_first_lone_surrogate_is_found(text: str, index: int | None) -> None:
    assert surrogate_at(text) == index
    if index is None:
        assert text.encode().decode() == text


def test_the_numbers_of_the_operating_system_are_left_out() -> None:
    assert without_errno("gaierror: [Errno -2] Name or service not known") == "gaierror: Name or service not known"
    assert without_errno(str(OSError(2, "No such file", "x"))) == "No such file: 'x'"
    assert without_errno("a[2] stays") == "a[2] stays", "control"


def test_characters_that_are_not_seen_are_escapes() -> None:
    unseen = "\u00ad\u061c\u200b\u200f\u202a\u202e\u2066\u2069\ufeff\U000e0041"
    shown = with_unseen_shown(f"a{unseen}ü 🦜\n")
    assert shown == "a\\u00ad\\u061c\\u200b\\u200f\\u202a\\u202e\\u2066\\u2069\\ufeff\\U000e0041ü 🦜\n"
    assert shown.encode().decode() == shown == with_unseen_shown(shown)
    assert eval(f'"{with_unseen_shown(unseen)}"') == unseen
