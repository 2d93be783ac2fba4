"""Python source as coloured HTML. Whatever comes in is escaped; unfinished or broken code is coloured as far as it goes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import groupby

from markupsafe import Markup, escape
from pygments.lexers.python import PythonLexer
from pygments.token import Comment, Keyword, Name, Number, Operator, String, _TokenType

from pipeline.data.matching import places

MOST_LINES = 400
MOST_CHARACTERS = 40_000
LONGEST_LINE = 1_000
LINES_BEFORE = 6
"""An excerpt that begins further down shows so many lines before the one that is looked for."""

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


def python_html(code: str, marks: Sequence[str] = (), match: str = "substring") -> Markup:
    """`code` with a span around every token of a kind and `<mark>` around every one of the keywords `marks`, found as
    one of config.MATCHES.
    """
    return Markup("\n").join(_lines(clean(code), tuple(marks), match))


def numbered(code: str, marks: Sequence[str] = (), match: str = "substring") -> Markup:
    """`python_html` as list items, one a line; the numbers come from CSS, so that they are never copied."""
    lines = _lines(clean(code), tuple(marks), match)
    return Markup("").join(Markup("<li>{}</li>").format(line or " ") for line in lines)


@dataclass(frozen=True)
class Excerpt:
    """What is shown of a file."""

    code: str
    first: int
    """Number of its first line, from 1."""
    last: int
    num_after: int
    """Lines behind it that are left out; before it, `first - 1` are."""


def excerpt(code: str, line: int = 1) -> Excerpt:
    """The beginning of `code` or, when that does not reach `line`, what is around it."""
    lines = clean(code).rstrip("\n").split("\n")
    shown = _shown(lines)
    first = 1
    if line > len(shown):
        first = max(1, min(line, len(lines)) - LINES_BEFORE)
        shown = _shown(lines[first - 1 :])
    last = first + len(shown) - 1
    return Excerpt("\n".join(shown), first, last, len(lines) - last)


def line_of(code: str, keyword: str, match: str = "substring") -> int | None:
    """Number of the first line that has `keyword`, from 1."""
    code = clean(code)
    first = next(places(code, keyword, match), None)
    return None if first is None else code.count("\n", 0, first[0]) + 1


def _shown(lines: Sequence[str]) -> list[str]:
    shown, characters = [], 0
    for line in lines[:MOST_LINES]:
        shown.append(line if len(line) <= LONGEST_LINE else line[:LONGEST_LINE] + "…")
        characters += len(shown[-1])
        if characters > MOST_CHARACTERS:
            break
    return shown


def clean(code: str) -> str:
    return code.replace("\r\n", "\n").replace("\r", "\n")


@lru_cache(maxsize=256)
def _lines(code: str, marks: tuple[str, ...], match: str) -> tuple[Markup, ...]:
    marked = _marked(code, marks, match)
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


def _marked(code: str, marks: tuple[str, ...], match: str) -> bytearray:
    """1 for every character of `code` that lies inside one of `marks`, 0 for the others."""
    inside = bytearray(len(code))
    for mark in marks:
        for start, end in places(code, mark, match):
            inside[start:end] = b"\1" * (end - start)
    return inside


def _span(text: str, kind: str, marked: bool) -> Markup:
    html = escape(text)
    if kind:
        html = Markup('<span class="syn-{}">{}</span>').format(kind, html)
    return Markup("<mark>{}</mark>").format(html) if marked else html
