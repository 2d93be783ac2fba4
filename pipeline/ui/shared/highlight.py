"""Highlights Python source as HTML. All text is escaped. Incomplete or broken code is highlighted where possible."""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

from markupsafe import Markup, escape

from pipeline.core.text import UNSEEN, with_unseen_shown
from pipeline.data.filter.matching import places

MAX_LINES = 400
MAX_CHARACTERS = 40_000
LONGEST_LINE = 1_000
MAX_TOKENS = 10_000
"""Code after this many tokens is not highlighted."""
LINES_BEFORE = 6
"""Lines shown before the requested line in an excerpt that does not start at line 1."""

# A lexer whose rules backtrack takes minutes for a few kilobytes of tabs. Every unbounded repeat here is possessive, so
# the time is linear in the length of any text; an f-string is one token.
TOKEN = re.compile(
    r"""
      (?P<comment> \#[^\n]*+ )
    | (?P<string> [bBfFrRtTuU]{0,2}+ (?:
          \"\"\" (?: [^"\\]++ | \\. | "(?!"") )*+ (?: \"\"\" )?
        | ''' (?: [^'\\]++ | \\. | '(?!'') )*+ (?: ''' )?
        | " (?: [^"\\\n]++ | \\. )*+ "?
        | ' (?: [^'\\\n]++ | \\. )*+ '?
      ) )
    | (?P<number> 0[xX][\da-fA-F_]*+ | \.?\d (?: [eE][+-] | [\w.] )*+ )
    | ^[ \t]*+ (?P<soft> match | case )\b (?= [ \t]++ [^\s.,:;=)\]}] )
    | (?P<part> [.@][^\W\d]\w*+ )
    | (?P<word> [^\W\d]\w*+ )
    """,
    re.VERBOSE | re.DOTALL | re.MULTILINE,
)
KEYWORDS = frozenset(keyword.kwlist)
OTHER_NAMES = {"self", "cls", "NotImplemented", "Ellipsis"}
SITE_NAMES = {"copyright", "credits", "exit", "license", "quit"}
"""Names that only an interactive Python adds to the built-ins."""
BUILTINS = frozenset({name for name in dir(builtins) if name.islower() and name[0] != "_"} | OTHER_NAMES) - SITE_NAMES
SAME_BYTES = re.compile(rb"\x00++|\x01++")


def python_html(code: str, marks: Sequence[str] = (), match: str = "substring") -> Markup:
    """`code` with a span around every highlighted token and `<mark>` around every occurrence of the keywords `marks`;
    `match` is one of config.MATCHES. A character that is not seen is marked, with its escape in its place.
    """
    return Markup("\n".join(_lines(clean(code), tuple(marks), match)))


def numbered(code: str, marks: Sequence[str] = (), match: str = "substring") -> Markup:
    """`python_html` as list items, one per line; CSS adds the numbers, so they are never copied."""
    lines = _lines(clean(code), tuple(marks), match)
    return Markup("".join(f"<li>{line or ' '}</li>" for line in lines))


@dataclass(frozen=True)
class Excerpt:
    """The part of a file that is shown."""

    code: str
    first: int
    """Number of its first line, from 1."""
    last: int
    num_after: int
    """Lines left out after it; `first - 1` are left out before it."""


def excerpt(code: str, line: int = 1) -> Excerpt:
    """The beginning of `code` or, if that does not reach `line`, the lines around it."""
    lines = clean(code).rstrip("\n").split("\n")
    shown = _shortened(lines)
    first = 1
    if line > len(shown):
        first = max(1, min(line, len(lines)) - LINES_BEFORE)
        shown = _shortened(lines[first - 1 :])
    last = first + len(shown) - 1
    return Excerpt("\n".join(shown), first, last, len(lines) - last)


def line_of(code: str, keyword: str, match: str = "substring") -> int | None:
    """Number of the first line that contains `keyword`, from 1; None if no line does."""
    code = clean(code)
    first = next(places(code, keyword, match), None)
    return None if first is None else code.count("\n", 0, first[0]) + 1


def _shortened(lines: Sequence[str]) -> list[str]:
    shown, characters = [], 0
    for line in lines[:MAX_LINES]:
        shown.append(line if len(line) <= LONGEST_LINE else line[:LONGEST_LINE] + "…")
        characters += len(shown[-1])
        if characters > MAX_CHARACTERS:
            break
    return shown


def clean(code: str) -> str:
    return code.replace("\r\n", "\n").replace("\r", "\n")


@lru_cache(maxsize=256)
def _lines(code: str, marks: tuple[str, ...], match: str) -> tuple[str, ...]:
    """The HTML of each line."""
    marked = _marked(code, marks, match)
    lines: list[list[str]] = [[]]
    for start, end, kind in _tokens(code):
        for part in SAME_BYTES.finditer(marked, start, end):
            for number, text in enumerate(code[part.start() : part.end()].split("\n")):
                if number:
                    lines.append([])
                if text:
                    lines[-1].append(_span(text, kind, bool(marked[part.start()])))
    return tuple("".join(line) for line in lines)


def _tokens(code: str) -> Iterator[tuple[int, int, str]]:
    """Start, end and kind of consecutive spans of `code`; the kind of plain text is ""."""
    plain_start = 0
    for token in islice(TOKEN.finditer(code), MAX_TOKENS):
        group = token.lastgroup or ""
        start, end = token.span(group)
        if kind := _kind(group, code[start:end]):
            if plain_start < start:
                yield plain_start, start, ""
            yield start, end, kind
            plain_start = end
    yield plain_start, len(code), ""


def _kind(group: str, text: str) -> str:
    if group == "word":
        return "keyword" if text in KEYWORDS else "name" if text in BUILTINS else ""
    return {"soft": "keyword", "part": ""}.get(group, group)


def _marked(code: str, marks: tuple[str, ...], match: str) -> bytearray:
    """One byte per character of `code`: 1 inside an occurrence of one of `marks`, else 0."""
    inside = bytearray(len(code))
    for mark in marks:
        for start, end in places(code, mark, match):
            inside[start:end] = b"\1" * (end - start)
    return inside


def _span(text: str, kind: str, marked: bool) -> str:
    html = UNSEEN.sub(_unseen, str(escape(text)))
    if kind:
        html = f'<span class="syn-{kind}">{html}</span>'
    return f"<mark>{html}</mark>" if marked else html


def _unseen(found: re.Match[str]) -> str:
    return f'<span class="syn-control">{with_unseen_shown(found[0])}</span>'
