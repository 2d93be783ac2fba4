"""Which files can be read, by their endings, and with what: the one table for files of this machine and on the Hub."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from pipeline.data.readers.decompress import PACKINGS
from pipeline.data.sources.base import TEXT_COLUMNS
from pipeline.data.sources.shard import Piece

if TYPE_CHECKING:
    import polars as pl

    TextOf = Callable[[Mapping[str, pl.DataType]], str | None]

PYTHON, JSON, JSON_LINES, PARQUET, CSV, TSV, TEXT = "python", "json", "json lines", "parquet", "csv", "tsv", "text"
KINDS = {
    ".py": PYTHON,
    ".json": JSON,
    ".jsonl": JSON_LINES,
    ".ndjson": JSON_LINES,
    ".jsonlines": JSON_LINES,
    ".parquet": PARQUET,
    ".csv": CSV,
    ".tsv": TSV,
    ".txt": TEXT,
}
NEVER_PACKED = (PYTHON, PARQUET)
ENDINGS = ".py, .parquet, and .json, .jsonl, .ndjson, .jsonlines, .csv, .tsv, .txt (also .gz, .zst, .bz2 or .xz)"


@dataclass(frozen=True)
class Format:
    kind: str
    """One of those in KINDS."""
    packing: str
    """One of PACKINGS, or empty."""


def format_of(name: str) -> Format | None:
    """What the file `name` holds by its ending; None when it cannot be read. Something packed without an ending of its
    own is JSON, as in `dump.zst`.
    """
    name = name.lower().rpartition("/")[2]
    packing = next((ending for ending in PACKINGS if name.endswith(ending)), "")
    stem = name.removesuffix(packing)
    kind = next((kind for ending, kind in KINDS.items() if stem.endswith(ending)), None)
    if packing and kind is None and "." not in stem.lstrip("."):
        kind = JSON
    return None if kind is None or (packing and kind in NEVER_PACKED) else Format(kind, packing)


def pieces(
    stream: BinaryIO, found: Format, place: str, num_bytes: int | None, text_of: TextOf, column: str | None = None
) -> Iterator[Piece]:
    """The rows of a file of many rows; `place` is what bad ones are said to be in, `num_bytes` the size of `stream`, if
    known. The text is in `column` if that was asked for; in a table, in the one that `text_of` finds in its schema.
    """
    if found.kind == PARQUET:
        from pipeline.data.readers.parquet import table_pieces

        return table_pieces(stream, place, text_of)
    if found.kind == TEXT:
        from pipeline.data.readers.text_lines import text_pieces

        return text_pieces(stream, place, num_bytes, text_of, packing=found.packing)
    if found.kind in (CSV, TSV):
        from pipeline.data.readers.delimited import delimited_pieces

        delimiter = b"," if found.kind == CSV else b"\t"
        return delimited_pieces(stream, place, num_bytes, text_of, delimiter=delimiter, packing=found.packing)
    from pipeline.data.readers import jsonl

    names = (column,) if column else TEXT_COLUMNS
    may_be_document = found.kind == JSON
    return jsonl.pieces(stream, place, num_bytes, names, packing=found.packing, may_be_document=may_be_document)
