"""Reads a file that is one JSON value: an array whose items are the rows, or an object over many lines that is a row.

The file is buffered as text, never as values: the values of a short text can take a hundred times as much memory.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from pipeline.data.readers.json_row import BYTE_ORDER_MARK, DECODER, TextKeys, row_of
from pipeline.data.sources.base import LONGEST_TEXT, TOO_LONG, BadRow, Batch, Row, batch_of_bad, batch_of_rows

if TYPE_CHECKING:
    from pipeline.data.readers.line_block import LineBlock

LARGEST_DOCUMENT = 64 * 2**20
"""Maximum bytes of a file that is one JSON value, as it has to be buffered whole."""
ITEMS_TOGETHER = 4_096
LETTERS_TOGETHER = 4 * 2**20
MARK = re.compile(r'"(?:[^"\\]++|\\.)*+"|[\[\]{},"]', re.DOTALL)
"""A string or a character that delimits values; a lone quotation mark begins a string that has no end."""


def opens_document(line: bytes) -> bool:
    """Whether this first line begins a value that continues below, or is an array."""
    line = line.removeprefix(BYTE_ORDER_MARK).strip()
    return line == b"{" or line.startswith(b"[")


def document(
    first: LineBlock, rest: Iterator[LineBlock | BadRow], place: str, keys: TextKeys
) -> Iterator[Callable[[], Batch]]:
    """The rows of a file that is one JSON value: its items, numbered from 1. Otherwise its lines are the rows."""
    parts, size, broken = [first], len(first.data), False
    for block in rest:
        if isinstance(block, BadRow):
            broken = True
            yield partial(batch_of_bad, block)
            continue
        parts.append(block)
        size += len(block.data)
        if broken or size > LARGEST_DOCUMENT:
            yield from (block.read for block in parts)
            parts, broken = [], True
    text = None if broken else _text(b"".join(block.data for block in parts))
    is_valid: bool | None = False
    for latest in _checks(text) if text is not None else ():
        is_valid = latest
        yield partial(batch_of_rows, iter(()))  # an empty batch, so that the consumer can stop
    if text is None or not is_valid:
        yield from (block.read for block in parts)
        return
    parts.clear()
    number = 1
    items = _items(text)
    while group := _next_block(items):
        names = keys.of_value(None if _is_too_long(group[0]) else DECODER.decode(group[0]))
        yield partial(_batch, group, number, place, names)
        number += len(group)


def _text(data: bytes) -> str | None:
    try:
        return data.removeprefix(BYTE_ORDER_MARK).decode("utf-8").strip(" \t\r\n")
    except UnicodeDecodeError:
        return None


def _checks(text: str) -> Iterator[bool | None]:
    """Whether every item can be read: None until that is known. Items are parsed for the check without being kept, and
    again when their turn comes.
    """
    try:
        for number, item in enumerate(_items(text), 1):
            if not _is_too_long(item):
                DECODER.decode(item)
            if number % ITEMS_TOGETHER == 0:
                yield None
    except (ValueError, RecursionError):
        yield False
    else:
        yield True


def _items(text: str) -> Iterator[str]:
    """The items of an array, or the one object. Raises ValueError if it ends too early or something follows it."""
    is_array = text.startswith("[")
    depth = start = 0
    for mark in MARK.finditer(text):
        kind = mark[0]
        if kind in ("[", "{"):
            depth += 1
            start = mark.end() if is_array and depth == 1 else start
        elif kind in ("]", "}"):
            depth -= 1
            if not depth:
                if mark.end() < len(text):
                    raise ValueError("something follows the document")
                yield from _last(text, start, mark, is_array=is_array)
                return
        elif kind == "," and depth == 1 and is_array:
            yield text[start : mark.start()]
            start = mark.end()
        elif kind == '"':
            break
    raise ValueError("the document has no end")


def _last(text: str, start: int, end: re.Match[str], *, is_array: bool) -> Iterator[str]:
    """The last item of the document; none if the array is empty."""
    if not is_array:
        yield text
    elif end[0] != "]":
        raise ValueError("an array ends as an object")
    elif (item := text[start : end.start()]).strip() or start > 1:
        yield item


def _next_block(items: Iterator[str]) -> list[str]:
    """The next items that form one block."""
    found: list[str] = []
    num_letters = 0
    for item in islice(items, ITEMS_TOGETHER):
        found.append(item)
        num_letters += len(item)
        if num_letters > LETTERS_TOGETHER:
            break
    return found


def _batch(items: list[str], first: int, place: str, names: tuple[str, ...]) -> Batch:
    return batch_of_rows(_row(item, f"{place}:{number}", names) for number, item in enumerate(items, first))


def _row(item: str, where: str, names: tuple[str, ...]) -> Row | BadRow:
    return BadRow(TOO_LONG, where) if _is_too_long(item) else row_of(DECODER.decode(item), where, names)


def _is_too_long(item: str) -> bool:
    return len(item) > LONGEST_TEXT or (4 * len(item) > LONGEST_TEXT and len(item.encode()) > LONGEST_TEXT)
