"""Python source as coloured HTML. Whatever comes in is escaped; unfinished or broken code is coloured as far as it goes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from itertools import groupby

from markupsafe import Markup, escape
from pygments.lexers.python import PythonLexer
from pygments.token import Comment, Keyword, Name, Number, Operator, String, _TokenType

MOST_LINES = 400
MOST_CHARACTERS = 40_000
LONGEST_LINE = 1_000
LINES_BEFORE_HIT = 20

KINDS: tuple[tuple[_TokenType, str], ...] = (
    (Comment, "comment"),
    (String, "string"),
    (Number, "number"),
    (Operator.Word, "keyword"),
    (Keyword, "keyword"),
    (Name.Builtin, "name"),
)


@cache
def _lexer() -> PythonLexer:
    return PythonLexer(stripnl=False, ensurenl=False)


def python_html(code: str, marks: Sequence[str] = ()) -> Markup:
    """`code` with a span around every token of a kind and `<mark>` around every one of the substrings `marks`."""
    return Markup("\n").join(_lines(_clean(code), tuple(marks)))


def numbered(code: str, marks: Sequence[str] = ()) -> Markup:
    """`python_html` as list items, one a line; the numbers come from CSS, so that they are never copied."""
    return Markup("").join(Markup("<li>{}</li>").format(line or " ") for line in _lines(_clean(code), tuple(marks)))


def first_hit(code: str, words: Sequence[str]) -> int | None:
    """The line, from 1, that first contains one of `words`; None when none does."""
    places = [place for place in (code.find(word) for word in words) if place >= 0]
    return _clean(code[: min(places)]).count("\n") + 1 if places else None


def shortened(code: str, hit: int | None = None) -> tuple[str, int, int]:
    """What of `code` is shown, the number of its first line, and how many lines are left out.

    From the beginning, unless line `hit` would not be among what is shown: then from a little before it.
    """
    lines = _clean(code).rstrip("\n").split("\n")
    first = max(1, hit - LINES_BEFORE_HIT) if hit is not None and hit > MOST_LINES - LINES_BEFORE_HIT else 1
    shown, characters = [], 0
    for line in lines[first - 1 : first - 1 + MOST_LINES]:
        shown.append(line if len(line) <= LONGEST_LINE else line[:LONGEST_LINE] + "…")
        characters += len(shown[-1])
        if characters > MOST_CHARACTERS:
            break
    return "\n".join(shown), first, len(lines) - len(shown)


def _clean(code: str) -> str:
    return code.replace("\r\n", "\n").replace("\r", "\n")


@lru_cache(maxsize=256)
def _lines(code: str, marks: tuple[str, ...]) -> tuple[Markup, ...]:
    marked = _marked(code, marks)
    lines: list[list[Markup]] = [[]]
    for start, kind, text in _tokens(code):
        for (is_break, is_marked), group in groupby(
            range(start, start + len(text)), lambda at: (code[at] == "\n", marked[at])
        ):
            places = list(group)
            if is_break:
                lines.extend([] for _ in places)
            else:
                lines[-1].append(_span(code[places[0] : places[-1] + 1], kind, bool(is_marked)))
    return tuple(Markup("").join(line) for line in lines)


def _tokens(code: str) -> Iterator[tuple[int, str, str]]:
    """Start, kind ("" for plain) and text of each token."""
    for start, token, text in _lexer().get_tokens_unprocessed(code):
        yield start, next((kind for parent, kind in KINDS if token in parent), ""), text


def _marked(code: str, marks: tuple[str, ...]) -> bytearray:
    """1 for every character of `code` that lies inside one of `marks`, 0 for the others."""
    inside = bytearray(len(code))
    if marks:
        pattern = "|".join(re.escape(mark) for mark in sorted(marks, key=len, reverse=True))
        for match in re.finditer(pattern, code):
            inside[match.start() : match.end()] = b"\1" * len(match.group())
    return inside


def _span(text: str, kind: str, marked: bool) -> Markup:
    html = escape(text)
    if kind:
        html = Markup('<span class="syn-{}">{}</span>').format(kind, html)
    return Markup("<mark>{}</mark>").format(html) if marked else html
