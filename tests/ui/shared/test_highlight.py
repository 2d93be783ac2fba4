"""Code is highlighted and marked, and all of it stays text."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator
from re import _constants, _parser  # type: ignore[attr-defined]  # the structure of a pattern, which re itself does not expose
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.schema import MATCHES
from pipeline.core.text import with_unseen_shown
from pipeline.ui.shared.highlight import (
    LINES_BEFORE,
    LONGEST_LINE,
    MAX_CHARACTERS,
    MAX_LINES,
    MAX_TOKENS,
    TOKEN,
    excerpt,
    line_of,
    numbered,
    python_html,
)

HOSTILE = """<script>alert(1)</script>'"><img src=x onerror=alert(1)>{{ 7*7 }} ${7*7} `x` &lt;"""


def text_of(markup: str) -> str:
    return html.unescape(re.sub(r"<[^>]*>", "", markup))


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_the_text_comes_out_as_it_went_in(code: str) -> None:
    shown = with_unseen_shown(code.replace("\r\n", "\n").replace("\r", "\n"))
    assert text_of(python_html(code, ("a",))) == shown


@pytest.mark.parametrize("code", [HOSTILE, f"# {HOSTILE}", f"x = '{HOSTILE}'", f"'''{HOSTILE}", f"def {HOSTILE}"])
def test_hostile_text_stays_text(code: str) -> None:
    for markup in (python_html(code), python_html(code, ("script", "<img")), numbered(code)):
        tags = set(re.findall(r"</?(\w+)", markup))
        assert tags <= {"span", "mark", "li"}
        assert "onerror" not in "".join(re.findall(r"<[^>]*>", markup))


@pytest.mark.parametrize("letter", "\u202a\u202e\u2066\u2069\u200b\u200f\ufeff\u061c\u3164\u2028", ids=ascii)
def test_a_character_that_is_not_seen_is_marked(letter: str) -> None:
    escape = f"\\u{ord(letter):04x}"
    for code in (f"x = 'a{letter}b'", f"# a{letter}b", f"a{letter}b", f"a{letter}b<script>"):
        for markup in (python_html(code), numbered(code), python_html(code, (f"a{letter}",))):
            assert letter not in markup and "<script" not in markup
            assert f'<span class="syn-control">{escape}</span>' in markup
    assert python_html("ü = 'a\u00a0ß🦜'").count("syn-control") == 0, "control"


def test_kinds_of_tokens_get_their_class() -> None:
    markup = python_html("def f(x):  # why\n    return len('a') + 1\n")
    for kind, word in (("keyword", "def"), ("comment", "# why"), ("name", "len"), ("number", "1")):
        assert f'<span class="syn-{kind}">{word}</span>' in markup


def test_keywords_are_marked_inside_tokens_and_across_them() -> None:
    assert "<mark>pandas</mark>" in python_html("import pandas as pd", ("pandas",))
    assert text_of("".join(re.findall("<mark>(.*?)</mark>", python_html("a.b.c", ("a.b",))))) == "a.b"
    assert "<mark>" not in python_html("import pandas", ())


def test_a_keyword_is_not_a_regex() -> None:
    assert "<mark>" not in python_html("abc", ("a.c",))


def test_every_line_is_an_item_and_no_span_crosses_it() -> None:
    items = re.findall(r"<li>(.*?)</li>", numbered('x = """one\ntwo\n"""\n'), flags=re.DOTALL)
    assert [text_of(item) for item in items] == ['x = """one', "two", '"""', " "]
    assert all(item.count("<span") == item.count("</span>") for item in items)


def test_a_long_file_is_shortened_and_says_by_how_much() -> None:
    shown = excerpt("x\n" * (MAX_LINES + 25))
    assert (shown.first, shown.last, shown.num_after, shown.code.count("\n") + 1) == (1, MAX_LINES, 25, MAX_LINES)
    whole = excerpt("x = 1\n")
    assert (whole.code, whole.first, whole.last, whole.num_after) == ("x = 1", 1, 1, 0)


def test_an_excerpt_begins_a_little_before_a_line_that_would_not_be_shown() -> None:
    code = "\n".join(f"x{number}" for number in range(1, 1_001))
    shown = excerpt(code, 900)
    lines = shown.code.split("\n")
    assert shown.first == 900 - LINES_BEFORE
    assert lines[900 - shown.first] == "x900"
    assert (shown.last, shown.num_after, lines[-1]) == (1_000, 0, "x1000")
    assert excerpt(code, MAX_LINES).first == 1
    assert excerpt(code, 5_000).last == 1_000


def test_long_lines_reach_the_limit_as_many_lines_do() -> None:
    code = "y" * 900 + "\n"
    assert excerpt(code * 300, 1).last < 50
    assert excerpt(code * 300, 200).first == 200 - LINES_BEFORE


def test_a_long_line_is_cut() -> None:
    assert len(excerpt("y" * 10 * LONGEST_LINE).code) == LONGEST_LINE + 1


def test_only_matches_are_marked() -> None:
    code = "geopandas = pandas\nimport numpy, pandas.core\n"
    marked = {match: python_html(code, ("pandas",), match).count("<mark>") for match in MATCHES}
    assert marked == {"substring": 3, "identifier": 2, "import": 1}
    assert [line_of(code, "pandas", match) for match in ("substring", "identifier", "import")] == [1, 1, 2]
    assert line_of(code, "torch") is None


def test_unfinished_code_is_coloured_as_far_as_it_goes() -> None:
    assert python_html("x = 'abc") == 'x = <span class="syn-string">&#39;abc</span>'
    assert python_html('"""a\nb').count("syn-string") == 2
    assert python_html("match x:\n  case 1:").count("syn-keyword") == 2
    assert "syn-" not in python_html("match = x.len\n@property\nmatch(x)")


SLOW = {
    "tabs": "\t\n" * 20_000,
    "blank lines": "\n " * 20_000,
    "brackets": "([{" * 13_000,
    "quotes": "\"'" * 20_000,
    "an open string": '"""' + "a\n" * 20_000,
    "backslashes": "\\" * 40_000,
    "names of characters": '"' + "\\N{" * 13_000,
    "braces of f-strings": 'f"{' * 13_000,
    "fields": '"' + "{a[" * 13_000,
    "lambdas": "lambda:" * 6_000,
    "a soft keyword": "match" + " " * 39_000,
    "digits": "1_" * 20_000,
    "no tokens": "?$" * 20_000,
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("code", SLOW.values(), ids=SLOW)
def test_no_text_is_slow(code: str) -> None:
    """A lexer that backtracks takes 76 seconds for the tabs."""
    assert text_of(python_html(code[:MAX_CHARACTERS])) == code[:MAX_CHARACTERS]


def repeats(parsed: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    """Name and upper bound of every repeat of a parsed pattern."""
    for node in parsed:
        if isinstance(node, tuple) and node and str(node[0]).endswith("REPEAT"):
            yield str(node[0]), node[1][1]
        if isinstance(node, tuple | list | _parser.SubPattern):
            yield from repeats(node)


def test_no_repeat_of_the_pattern_backtracks() -> None:
    found = list(repeats(_parser.parse(TOKEN.pattern, TOKEN.flags)))
    assert {kind for kind, limit in found if limit == _constants.MAXREPEAT} == {"POSSESSIVE_REPEAT"}
    assert ("MAX_REPEAT", _constants.MAXREPEAT) in repeats(_parser.parse("(a*b)"))  # the control


def test_a_text_of_very_many_tokens_is_coloured_at_its_beginning() -> None:
    code = "1 " * (MAX_TOKENS + 50)
    assert python_html(code).count("syn-number") == MAX_TOKENS
    assert text_of(python_html(code)) == code
