"""The data model of all sources: batches of rows with the course's columns, and the rows that could not be read."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

    TextOf = Callable[[Mapping[str, pl.DataType]], str | None]
    """Selects the column with the text from the columns of a table."""

COLUMNS = ("repo_name", "path", "copies", "size", "content", "license")
"""The columns of the course's dataset, in its order; all are strings."""
TEXT_COLUMNS = ("content", "whole_func_string", "original_string", "code", "func_code_string", "text")
"""Usual names of a dataset's text column; the first one that the dataset has is used. `text` is the last, because it is
often prose beside the code.
"""
NAMES: dict[str, tuple[str, ...]] = {
    "repo_name": ("repo_name", "max_stars_repo_name", "repository_name", "repo"),
    "path": ("path", "max_stars_repo_path", "func_path_in_repository"),
    "copies": ("copies",),
    "size": ("size",),
    "license": ("license", "max_stars_repo_licenses", "licenses", "detected_licenses", "license_type"),
}
"""The names of the other columns in The Stack, StarCoder's data, CodeSearchNet, github-code and codeparrot-clean; the
first one with a value is used.
"""

Row = tuple[str, str, str, str, str, str]
"""One value for each of COLUMNS."""

UNREADABLE = "cannot be opened"
NOT_UTF8 = "not UTF-8"
NOT_AS_NAMED = "not in the encoding that it names"
NOT_JSON = "not JSON"
NOT_AN_OBJECT = "not a JSON object"
NO_TEXT = "no text column"
NULL_TEXT = "text is null"
FIELDS = "more or fewer fields than the header"
UNCLOSED = "quote is not closed"
ESCAPED = 'quote inside a text is written \\" instead of ""'
OTHER_DELIMITER = "fields are not separated by commas (.csv) or tabs (.tsv)"
NO_HEADER = "first line does not name the columns"
NOT_A_STRING = "text is not a string"
TRUNCATED = "file ends too early"
DAMAGED = "file is damaged"
TOO_LONG = "longer than 16 MB"
BOMB = "grows too far when unpacked"

MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",  # before UTF-16, whose mark is the beginning of this one
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
CODING = re.compile(rb"[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")
NO_CODE = re.compile(rb"[ \t\f]*(?:#.*)?\r?")
HEAD_BYTES = 1_000
NOT_FOR_FILES = frozenset(
    "ascii idna punycode undefined unicode_escape raw-unicode-escape raw_unicode_escape unicode-escape utf-7".split()
)
"""Encodings that are not used although a file names them: UTF-8 contains ASCII, and the others are none for code."""

LONGEST_TEXT = 16 * 2**20
"""Maximum bytes of one JSON line or one Python file; nothing longer is code that a person wrote."""


@dataclass(frozen=True)
class BadRow:
    """A row, or a whole file, that could not be read."""

    reason: str
    where: str
    """`file`, or `file:number` with the line, row or array item counted from 1."""


@dataclass(frozen=True)
class Batch:
    """Rows that were read together."""

    rows: pl.DataFrame
    """The columns COLUMNS, each of polars type String and without nulls."""
    num_bytes: int
    """Total size of `content` in UTF-8."""
    bad: tuple[BadRow, ...] = ()
    num_skipped: int = 0
    """Number of files skipped because of their extension."""
    progress: float | None = None
    """Fraction of the source read once this batch is read, 0 to 1; None if unknown."""
    is_remembered: bool = False
    """Whether the batch comes from the cache instead of the source."""

    def head(self, num_rows: int) -> Batch:
        """The batch with only its first `num_rows` rows; the batch itself when it has no more."""
        if len(self.rows) <= num_rows:
            return self
        rows = self.rows.head(num_rows)
        return replace(self, rows=rows, num_bytes=content_bytes(rows))

    def at_most(self, num_rows: int) -> Batch:
        """At most `num_rows` rows, counting bad ones. Readable ones come first, as their common order is unknown."""
        head = self.head(num_rows)
        if len(head.rows) + len(head.bad) <= num_rows:
            return head
        return replace(head, bad=head.bad[: num_rows - len(head.rows)])


class BatchBuilder:
    """Collects rows one by one for a batch."""

    def __init__(self) -> None:
        self._rows: list[Row] = []
        self._bad: list[BadRow] = []
        self._num_skipped = 0

    def add(self, row: Row | BadRow) -> None:
        if isinstance(row, BadRow):
            self._bad.append(row)
        else:
            self._rows.append(row)

    def skip(self) -> None:
        self._num_skipped += 1

    def batch(self) -> Batch:
        """The rows added so far, as a batch."""
        import polars as pl

        rows = pl.DataFrame(self._rows, schema=dict.fromkeys(COLUMNS, pl.String), orient="row")
        return Batch(rows, content_bytes(rows), tuple(self._bad), self._num_skipped)


def batch_of_rows(rows: Iterable[Row | BadRow]) -> Batch:
    """A batch of rows from an iterable."""
    builder = BatchBuilder()
    for row in rows:
        builder.add(row)
    return builder.batch()


def batch_of_bad(row: BadRow) -> Batch:
    """A batch that contains only one bad row."""
    return batch_of_rows([row])


def decoded(data: bytes, place: str) -> str | BadRow:
    """The text of a Python file without a byte order mark, or a bad row that names the line of its first wrong byte.

    It is UTF-8 unless the file says otherwise: by a byte order mark, or by a comment as in PEP 263.
    """
    mark, encoding = next((pair for pair in MARKS.items() if data.startswith(pair[0])), (b"", ""))
    data = data[len(mark) :]
    encoding = encoding or _named_encoding(data) or "utf-8"
    try:
        return data.decode(encoding)
    except UnicodeError as error:
        start = getattr(error, "start", 0)
        reason = NOT_UTF8 if encoding == "utf-8" else NOT_AS_NAMED
        return BadRow(reason, f"{place}:{data.count(10, 0, start) + 1}")


def _named_encoding(data: bytes) -> str | None:
    """The encoding that a comment in one of the first two lines names; None for none, and for one that is unknown."""
    first, _, rest = data[:HEAD_BYTES].partition(b"\n")
    found = CODING.match(first)
    if found is None and NO_CODE.fullmatch(first):
        found = CODING.match(rest)
    if found is None:
        return None
    try:
        name = codecs.lookup(found[1].decode()).name
        "".encode(name)  # raises LookupError for what is no encoding of text
    except (LookupError, UnicodeError):
        return None
    return None if name in NOT_FOR_FILES else name


def content_bytes(rows: pl.DataFrame) -> int:
    """Size of the column `content` in UTF-8."""
    return int(rows["content"].str.len_bytes().sum())
