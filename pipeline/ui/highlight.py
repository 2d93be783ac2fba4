"""Python source as coloured HTML. Whatever comes in is escaped; unfinished or broken code is coloured as far as it goes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache

from markupsafe import Markup, escape
from pygments.lexers.python import PythonLexer
from pygments.token import Comment, Keyword, Name, Number, Operator, String, _TokenType

MOST_LINES = 400
MOST_CHARACTERS = 40_000
LONGEST_LINE = 1_000

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


def shortened(code: str) -> tuple[str, int]:
    """What of `code` is shown, and how many of its lines are left out."""
    lines = _clean(code).rstrip("\n").split("\n")
    shown, characters = [], 0
    for line in lines[:MOST_LINES]:
        shown.append(line if len(line) <= LONGEST_LINE else line[:LONGEST_LINE] + "…")
        characters += len(shown[-1])
        if characters > MOST_CHARACTERS:
            break
    return "\n".join(shown), len(lines) - len(shown)


def _clean(code: str) -> str:
    return code.replace("\r\n", "\n").replace("\r", "\n")


@lru_cache(maxsize=256)
def _lines(code: str, marks: tuple[str, ...]) -> tuple[Markup, ...]:
    borders = _mark_borders(code, marks)
    lines: list[list[Markup]] = [[]]
    for start, kind, text in _tokens(code):
        for at, piece, marked in _cut(start, text, borders):
            if at and piece == "\n":
                lines.append([])
            else:
                lines[-1].append(_span(piece, kind, marked))
    return tuple(Markup("").join(line) for line in lines)


def _tokens(code: str) -> Iterator[tuple[int, str, str]]:
    """Start, kind ("" for plain) and text of each token."""
    for start, token, text in _lexer().get_tokens_unprocessed(code):
        yield start, next((kind for parent, kind in KINDS if token in parent), ""), text


def _mark_borders(code: str, marks: tuple[str, ...]) -> list[tuple[int, int]]:
    if not marks:
        return []
    pattern = "|".join(re.escape(mark) for mark in sorted(marks, key=len, reverse=True))
    return [match.span() for match in re.finditer(pattern, code)]


def _cut(start: int, text: str, borders: list[tuple[int, int]]) -> Iterator[tuple[bool, str, bool]]:
    """Pieces of a token: whether it is a line break, its text, whether it lies inside a mark."""
    end = start + len(text)
    cuts = sorted({start, end, *(at for span in borders for at in span if start < at < end)})
    for left, right in zip(cuts, cuts[1:], strict=False):
        marked = any(a <= left and right <= b for a, b in borders)
        for piece in re.split(r"(\n)", text[left - start : right - start]):
            if piece:
                yield piece == "\n", piece, marked


def _span(text: str, kind: str, marked: bool) -> Markup:
    html = escape(text)
    if kind:
        html = Markup('<span class="syn-{}">{}</span>').format(kind, html)
    return Markup("<mark>{}</mark>").format(html) if marked else html
