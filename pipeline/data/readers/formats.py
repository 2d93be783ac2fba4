"""Maps file extensions to formats and their readers: the only such table, for local files and files on the Hub."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from pipeline.data.readers.decompress import PACKINGS
from pipeline.data.sources.shard import Block

if TYPE_CHECKING:
    from pipeline.data.sources.base import TextOf

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
    """One of the values of KINDS."""
    packing: str
    """One of PACKINGS, or empty."""


def format_of(name: str) -> Format | None:
    """The format of the file `name`, by its extension; None when it cannot be read. A compressed file without another
    extension is JSON, as in `dump.zst`.
    """
    name = name.lower().rpartition("/")[2]
    packing = next((ending for ending in PACKINGS if name.endswith(ending)), "")
    stem = name.removesuffix(packing)
    kind = next((kind for ending, kind in KINDS.items() if stem.endswith(ending)), None)
    if packing and kind is None and "." not in stem.lstrip("."):
        kind = JSON
    return None if kind is None or (packing and kind in NEVER_PACKED) else Format(kind, packing)


def blocks(stream: BinaryIO, found: Format, place: str, num_bytes: int | None, text_of: TextOf) -> Iterator[Block]:
    """The rows of a file of many rows. `place` is the file name in bad rows, `num_bytes` the size of `stream` if known.
    `text_of` selects the text column from the columns; for JSON those of the first row.
    """
    if found.kind == PARQUET:
        from pipeline.data.readers.parquet import parquet_blocks

        return parquet_blocks(stream, place, text_of)
    if found.kind == TEXT:
        from pipeline.data.readers.text_lines import text_blocks

        return text_blocks(stream, place, num_bytes, text_of, packing=found.packing)
    if found.kind in (CSV, TSV):
        from pipeline.data.readers.delimited import delimited_blocks

        delimiter = b"," if found.kind == CSV else b"\t"
        return delimited_blocks(stream, place, num_bytes, text_of, delimiter=delimiter, packing=found.packing)
    from pipeline.data.readers import jsonl

    may_be_document = found.kind == JSON
    return jsonl.blocks(stream, place, num_bytes, text_of, packing=found.packing, may_be_document=may_be_document)
