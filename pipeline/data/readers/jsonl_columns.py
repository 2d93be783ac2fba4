"""Reads a block of JSON lines as a table: many times as fast as line by line, but only where it is as exact.

polars reads what it can and does not report some of what it cannot: a number becomes text, a lone surrogate becomes
NUL. So a block in which that is possible is left to the reader by lines.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pipeline.data.sources.base import COLUMNS, NAMES

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

NOT_TEXT = r"\A(?:true|false|-?\d[\d.eE+-]*)\z|\A[\[{]"
"""What a number, a boolean, a list or an object becomes as text; a block with such a text is read again by lines."""
NOT_EXACT = r"\A(?:[\[{]|-?[\d.]{16,}\z)"
"""Values of the other columns that may change: polars drops the escapes in lists and objects, and may write another
last digit of numbers this long.
"""
PAIR = 9
"""Bytes from the start of a pair of escapes up to the digit that tells the kind of the second one."""
PART = 2**17
ESCAPED_NAME = re.compile(rb'"\w*\\u00[67][\w\\]*"')
"""A key in which a lower-case letter is written as an escape."""


def table(data: bytes, num_lines: int, names: tuple[str, ...]) -> pl.DataFrame | None:
    """COLUMNS of the `num_lines` lines of `data`; None when they must be read one by one. No line is lost or invented.

    A line's text is the value of the first key in `names` that it has.
    """
    import polars as pl

    text = _text_column(data, names)
    if text is None or _has_odd_pair(data):
        return None
    columns = [text, *(name for own in NAMES.values() for name in own if name != text)]
    try:
        read = pl.read_ndjson(data, schema=dict.fromkeys(columns, pl.String))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return None
    if len(read) != num_lines:
        return None
    # Of the many names that a column may have, a file has one; the checks below cost the same for a column of nulls.
    read = read.select(name for name in read.columns if name == text or read[name].null_count() < num_lines)
    content, every = pl.col(text), pl.all()
    # One query for all checks: each query costs as much as reading half a megabyte.
    [problems] = read.select(
        content.is_null().any().alias("null"),
        content.str.contains(NOT_TEXT).any().alias("not text"),
        pl.any_horizontal(every.str.contains("\0", literal=True).any()).alias("lone surrogate"),
        pl.any_horizontal(pl.exclude(text).str.contains(NOT_EXACT).any()).alias("not exact"),
    ).rows()
    if any(problems):
        return None
    return read.select((content if name == "content" else _other(read, NAMES[name])).alias(name) for name in COLUMNS)


def _other(read: pl.DataFrame, names: tuple[str, ...]) -> pl.Expr:
    import polars as pl

    found = [name for name in names if name in read.columns]
    return pl.coalesce(found).fill_null("") if found else pl.repeat("", len(read), dtype=pl.String)


def _text_column(data: bytes, names: tuple[str, ...]) -> str | None:
    """The first of `names` in the first line; None if there is none, or if a line may have one that goes before it."""
    first = data[: data.find(b"\n") + 1 or None]
    found = next((name for name in names if _key(name) in first), None)
    before = names[: names.index(found)] if found else ()
    if any(_key(name) in data for name in before) or (before and _has_escaped_name(data)):
        return None
    return found


def _has_odd_pair(data: bytes) -> bool:
    """Whether `\\ud800` is followed by `\\ue000` or above: polars would make one wrong character of them."""
    import numpy as np

    codes = np.frombuffer(data, np.uint8)
    # In parts that fit into the CPU's cache: comparing all at once takes twice as long, mostly to allocate memory.
    return any(_odd_pair_in(codes[start : start + PART + PAIR]) for start in range(0, len(codes), PART))


def _odd_pair_in(codes: np.ndarray) -> bool:
    import numpy as np

    is_escape = codes[: 1 - PAIR] == ord("\\")
    is_escape &= codes[1 : 2 - PAIR] == ord("u")
    at = np.flatnonzero(is_escape)
    at = at[(codes[at + 2] | 32 == ord("d")) & (codes[at + 6] == ord("\\")) & (codes[at + 7] == ord("u"))]
    return bool((codes[at + 8] | 32 >= ord("e")).any())


def _has_escaped_name(data: bytes) -> bool:
    # The first two checks are many times as fast as the last, and nearly always enough.
    return (b"\\u006" in data or b"\\u007" in data) and ESCAPED_NAME.search(data) is not None


def _key(name: str) -> bytes:
    return b'"' + name.encode() + b'"'
