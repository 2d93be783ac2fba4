"""JSON lines, plain or compressed, read so that one bad line costs one line and a cut-off file keeps what it holds.

Works on any binary stream: a local file or one on the Hub.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, Protocol

from pipeline.data.sources.batch import (
    COLUMNS,
    DAMAGED,
    NO_TEXT,
    NOT_A_STRING,
    NOT_AN_OBJECT,
    NOT_JSON,
    NOT_UTF8,
    NULL_TEXT,
    TEXT_COLUMNS,
    TRUNCATED,
    BadRow,
    Row,
)

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
CHUNK = 1 << 16
"""Bytes read at a time: small, because compressed ones may grow a thousandfold."""


class Decoder(Protocol):
    """What zlib's and zstandard's decompression objects have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


class StreamError(Exception):
    """The stream cannot be read further; its text is the reason."""


def json_suffix(name: str) -> str | None:
    """`.gz`, `.zst` or `` when the file `name` holds JSON lines by its ending, packed that way; None when it does not."""
    name = name.lower()
    packing = next((ending for ending in (".gz", ".zst") if name.endswith(ending)), "")
    stem = name.removesuffix(packing).rpartition("/")[2]
    if stem.endswith((".json", ".jsonl")) or (packing and "." not in stem.lstrip(".")):
        return packing
    return None


def unpacked(stream: BinaryIO, packing: str, on_read: Callable[[int], None]) -> Iterator[bytes]:
    """The bytes of `stream`, decompressed. Raises StreamError where it is damaged or ends too early."""
    new_decoder, fault = _decoders(packing)
    decoder = None
    while data := stream.read(CHUNK):
        on_read(len(data))
        if not packing:
            yield data
            continue
        if decoder is not None and decoder.eof:
            data = data.lstrip(b"\0")  # padding; anything else is one more packed part
        while data:
            decoder = new_decoder() if decoder is None or decoder.eof else decoder
            try:
                yield decoder.decompress(data)
            except fault as error:
                raise StreamError(DAMAGED) from error
            data = decoder.unused_data.lstrip(b"\0") if decoder.eof else b""
    if decoder is not None and not decoder.eof:
        raise StreamError(TRUNCATED)


def rows(chunks: Iterator[bytes], place: str, *, may_be_document: bool = False) -> Iterator[Row | BadRow]:
    """A row or a bad row for every line that is not blank. With `may_be_document`, a file that is one JSON array (or one
    object over several lines) is read as such, and rows are numbered instead of lines.
    """
    lines = _lines(chunks)
    number = 0
    try:
        for number, line in enumerate(lines, 1):
            if number == 1 and may_be_document and _opens_document(line):
                yield from _document(line, lines, place)
            elif line.strip():
                yield _row(line, f"{place}:{number}")
    except StreamError as error:
        yield BadRow(str(error), f"{place}:{number + 1}")


def _lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Lines without their ends. What follows the last end is a line too, unless the stream breaks off there."""
    pending: list[bytes] = []  # joined only when the line is whole: adding to one long string would copy it each time
    for chunk in chunks:
        first, *rest = chunk.split(b"\n")
        pending.append(first)
        if rest:
            yield b"".join(pending)
            yield from rest[:-1]
            pending = [rest[-1]]
    if last := b"".join(pending):
        yield last


def _opens_document(line: bytes) -> bool:
    """Whether this first line begins something that goes on below, or is an array."""
    line = line.removeprefix(BYTE_ORDER_MARK).strip()
    return line == b"{" or line.startswith(b"[")


def _document(first: bytes, rest: Iterator[bytes], place: str) -> Iterator[Row | BadRow]:
    lines = [first]
    broken = None
    try:
        lines.extend(rest)
    except StreamError as error:
        broken = BadRow(str(error), f"{place}:{len(lines) + 1}")
    value = None if broken else _parsed(b"\n".join(lines))
    if isinstance(value, (list, dict)):
        items = value if isinstance(value, list) else [value]
        yield from (_row_of(item, f"{place}:{number}") for number, item in enumerate(items, 1))
        return
    yield from (_row(line, f"{place}:{number}") for number, line in enumerate(lines, 1) if line.strip())
    if broken:
        yield broken


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _row(line: bytes, where: str) -> Row | BadRow:
    try:
        return _row_of(json.loads(line), where)
    except UnicodeDecodeError:
        return BadRow(NOT_UTF8, where)
    except (ValueError, RecursionError):
        return BadRow(NOT_JSON, where)


def _row_of(value: Any, where: str) -> Row | BadRow:
    if not isinstance(value, dict):
        return BadRow(NOT_AN_OBJECT, where)
    name = next((name for name in TEXT_COLUMNS if name in value), None)
    if name is None:
        return BadRow(NO_TEXT, where)
    if reason := text_fault(value[name]):
        return BadRow(reason, where)
    other = [value[name] if column == "content" else as_text(value.get(column)) for column in COLUMNS]
    repo_name, path, copies, size, content, license_name = other
    return (repo_name, path, copies, size, content, license_name)


def text_fault(value: Any) -> str | None:
    """Why `value` cannot be a file's text, or None."""
    if value is None:
        return NULL_TEXT
    if not isinstance(value, str):
        return NOT_A_STRING
    return None if _is_utf8(value) else NOT_UTF8


def as_text(value: Any) -> str:
    """A column other than the text, as a string; empty when there is none."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if _is_utf8(text) else text.encode("utf-8", "replace").decode()


def _is_utf8(text: str) -> bool:
    """JSON may spell half a character (a lone surrogate), which no file can hold."""
    try:
        return text.isascii() or bool(text.encode("utf-8"))
    except UnicodeEncodeError:
        return False


def _decoders(packing: str) -> tuple[Callable[[], Decoder], type[Exception]]:
    """What makes a decoder, and what that raises on damaged data."""
    if packing == ".zst":
        import zstandard

        return lambda: zstandard.ZstdDecompressor().decompressobj(), zstandard.ZstdError
    return lambda: zlib.decompressobj(wbits=31), zlib.error
