"""Code is coloured and marked, and whatever is in it stays text."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.ui.highlight import LONGEST_LINE, MOST_LINES, first_hit, numbered, python_html, shortened

HOSTILE = """<script>alert(1)</script>'"><img src=x onerror=alert(1)>{{ 7*7 }} ${7*7} `x` &lt;"""


def text_of(markup: str) -> str:
    return html.unescape(re.sub(r"<[^>]*>", "", markup))


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_the_text_comes_out_as_it_went_in(code: str) -> None:
    assert text_of(python_html(code, ("a",))) == code.replace("\r\n", "\n").replace("\r", "\n")


@pytest.mark.parametrize("code", [HOSTILE, f"# {HOSTILE}", f"x = '{HOSTILE}'", f"'''{HOSTILE}", f"def {HOSTILE}"])
def test_hostile_text_stays_text(code: str) -> None:
    for markup in (python_html(code), python_html(code, ("script", "<img")), numbered(code)):
        tags = set(re.findall(r"</?(\w+)", markup))
        assert tags <= {"span", "mark", "li"}
        assert "onerror" not in "".join(re.findall(r"<[^>]*>", markup))


def test_kinds_of_tokens_get_their_class() -> None:
    markup = python_html("def f(x):  # why\n    return len('a') + 1\n")
    for kind, word in (("keyword", "def"), ("comment", "# why"), ("name", "len"), ("number", "1")):
        assert f'<span class="syn-{kind}">{word}</span>' in markup


def test_keywords_are_marked_inside_tokens_and_across_them() -> None:
    assert "<mark>pandas</mark>" in python_html("import pandas as pd", ("pandas",))
    assert text_of("".join(re.findall("<mark>(.*?)</mark>", python_html("a.b.c", ("a.b",))))) == "a.b"
    assert "<mark>" not in python_html("import pandas", ())


def test_a_keyword_is_no_pattern() -> None:
    assert "<mark>" not in python_html("abc", ("a.c",))


def test_every_line_is_an_item_and_no_span_crosses_it() -> None:
    items = re.findall(r"<li>(.*?)</li>", numbered('x = """one\ntwo\n"""\n'), flags=re.DOTALL)
    assert [text_of(item) for item in items] == ['x = """one', "two", '"""', " "]
    assert all(item.count("<span") == item.count("</span>") for item in items)


def test_a_long_file_is_shortened_and_says_by_how_much() -> None:
    code, first, num_hidden = shortened("x\n" * (MOST_LINES + 25))
    assert (code.count("\n") + 1, first, num_hidden) == (MOST_LINES, 1, 25)
    assert shortened("x = 1\n") == ("x = 1", 1, 0)


def test_an_excerpt_begins_a_little_before_a_hit_that_is_far_down() -> None:
    code = "".join(f"line {number}\n" for number in range(1, 2_001)).replace("line 1500", "import pandas")
    hit = first_hit(code, ["pandas", "seaborn"])
    assert hit == 1_500
    shown, first, num_hidden = shortened(code, hit)
    assert (first, num_hidden) == (1_480, 2_000 - MOST_LINES)
    assert shown.split("\n")[hit - first] == "import pandas"
    assert shortened(code, 30)[1] == 1, "one near the beginning is shown from there"
    assert first_hit(code, ["seaborn"]) is None


def test_a_long_line_is_cut() -> None:
    code, *_ = shortened("y" * 10 * LONGEST_LINE)
    assert len(code) == LONGEST_LINE + 1
