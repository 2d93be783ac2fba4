"""A card is small, however large its example is."""

from __future__ import annotations

import html
import re

import pytest

from pipeline.gallery.example import Example
from pipeline.gallery.moderation import UNTOUCHED
from pipeline.ui.gallery.example_card import MAX_CHARACTERS, MAX_HTML_CHARACTERS, MAX_LINES, ExampleCard, beginning


def card(prompt: str, text: str) -> ExampleCard:
    example = Example(
        id="abcd1234",
        prompt=prompt,
        settings={},
        seed=0,
        revision="0123456789ab",
        repo="local",
        run="calm-kea",
        step=20,
        eval_loss=2.5,
        texts=[text],
        title="A title",
        created_at="2026-01-01T00:00:00+00:00",
    )
    return ExampleCard.of(example, UNTOUCHED)


def test_a_short_example_is_shown_whole() -> None:
    shown = card("import pandas as pd\r\n# a frame\r\n", "\nx\ny\n")
    assert (shown.given.striptags(), str(shown.new)) == ("# a frame", "x\ny")


@pytest.mark.parametrize("text", ["word " * 4_000, "x = 1\n" * 3_000, "x" + "\n" * 19_000 + "y", "x\n" * 13])
def test_a_long_example_is_cut_to_lines_and_characters_and_says_so(text: str) -> None:
    shown = card("x" * 8_000, text)
    given, new = shown.given.striptags(), html.unescape(re.sub("<[^>]*>", "", shown.new))
    assert (given[-1], new[-1]) == ("…", "…")
    assert 1 + len(new.split("\n")) <= MAX_LINES
    assert len(given) + len(new) <= MAX_CHARACTERS


@pytest.mark.parametrize("text", ["'' " * 6_000, "1+" * 9_000, "<&\"'" * 5_000, "if 1:\n" * 3_000])
def test_colours_do_not_make_a_card_too_large(text: str) -> None:
    shown = card(text[:8_000], text)
    assert len(shown.given) <= MAX_HTML_CHARACTERS
    assert len(shown.new) <= MAX_HTML_CHARACTERS


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("a\nb", "a\nb"),
        ("a\nb\n", "a\nb…"),
        ("a\nb\nc", "a\nb…"),
        ("12345", "12345"),
        ("123456", "1234…"),
        ("1\n3\n5", "1\n3…"),
    ],
)
def test_what_is_left_out_is_marked(text: str, shown: str) -> None:
    assert beginning(text, max_lines=2, max_characters=5) == shown


@pytest.mark.parametrize("text", ["x\u202e", "1\u202e+" * 600], ids=["coloured", "plain"])
def test_characters_that_are_not_seen_are_shown(text: str) -> None:
    new = card("# \u2066", text).new
    assert "\u202e" not in new and "\\u202e" in new and "\u2066" not in card("# \u2066", text).given
