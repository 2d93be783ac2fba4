"""What every source delivers: batches of rows with the course's columns, and the rows that could not be read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

COLUMNS = ("repo_name", "path", "copies", "size", "content", "license")
"""The course's dataset, in its order; all strings."""
TEXT_COLUMNS = ("content", "text", "code")
"""A dataset's text is in the first of these that it has."""

Row = tuple[str, str, str, str, str, str]
"""One value for each of COLUMNS."""

UNREADABLE = "cannot be opened"
NOT_UTF8 = "not UTF-8"
NOT_JSON = "not JSON"
NOT_AN_OBJECT = "not a JSON object"
NO_TEXT = "no text column"
NULL_TEXT = "text is null"
FIELDS = "more or fewer fields than the header"
UNCLOSED = "quote is not closed"
NOT_A_STRING = "text is not a string"
TRUNCATED = "file ends too early"
DAMAGED = "file is damaged"
TOO_LONG = "longer than 16 MB"
BOMB = "grows too far when unpacked"

LONGEST_TEXT = 16 * 2**20
"""Bytes of one line of JSON, or of one Python file: nothing longer is code that somebody wrote."""


@dataclass(frozen=True)
class BadRow:
    """A row, or a whole file, that could not be read."""

    reason: str
    where: str
    """`file`, or `file:line` counted from 1."""


@dataclass(frozen=True)
class Batch:
    """Rows that were read together."""

    rows: pl.DataFrame
    """COLUMNS, all of polars' String, no nulls."""
    num_bytes: int
    """Size of `content` over all rows, in UTF-8."""
    bad: tuple[BadRow, ...] = ()
    num_skipped: int = 0
    """Files left out because of their ending."""
    progress: float | None = None
    """Share of the source that is read when this batch is, 0 to 1; None when nobody knows."""
    is_remembered: bool = False
    """Whether it comes from memory, not from where the source lies."""

    def head(self, num_rows: int) -> Batch:
        """The first rows of it only; itself when it has no more."""
        if len(self.rows) <= num_rows:
            return self
        rows = self.rows.head(num_rows)
        return replace(self, rows=rows, num_bytes=content_bytes(rows))

    def at_most(self, num_rows: int) -> Batch:
        """No more than `num_rows` of it, bad ones counted: readable ones first, as nobody knows their common order."""
        head = self.head(num_rows)
        if len(head.rows) + len(head.bad) <= num_rows:
            return head
        return replace(head, bad=head.bad[: num_rows - len(head.rows)])


class BatchBuilder:
    """Collects rows for a batch, one by one."""

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
        """What was collected."""
        import polars as pl

        rows = pl.DataFrame(self._rows, schema=dict.fromkeys(COLUMNS, pl.String), orient="row")
        return Batch(rows, content_bytes(rows), tuple(self._bad), self._num_skipped)


def batch_of_rows(rows: Iterable[Row | BadRow]) -> Batch:
    """Rows that are made one by one."""
    builder = BatchBuilder()
    for row in rows:
        builder.add(row)
    return builder.batch()


def batch_of_bad(row: BadRow) -> Batch:
    """Nothing but a bad row."""
    return batch_of_rows([row])


def decoded(data: bytes, place: str) -> str | BadRow:
    """A file's text, or the line of its first byte that is not UTF-8."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        return BadRow(NOT_UTF8, f"{place}:{data.count(10, 0, error.start) + 1}")


def content_bytes(rows: pl.DataFrame) -> int:
    """Size of the column `content` in UTF-8."""
    return int(rows["content"].str.len_bytes().sum())
