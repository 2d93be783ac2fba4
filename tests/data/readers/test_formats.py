from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from pipeline.data.readers.decompress import PACKINGS
from pipeline.data.readers.formats import ENDINGS, KINDS, Format, format_of
from pipeline.data.sources.local_files import FilesSource
from tests.data.examples import json_lines, row

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".zst": lambda data: zstandard.ZstdCompressor().compress(data),
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}


def separated(rows: list[dict[str, Any]], delimiter: str) -> bytes:
    target = io.StringIO()
    writer = csv.DictWriter(target, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return target.getvalue().encode()


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("a.json", Format("json", "")),
        ("a.JSONL", Format("json lines", "")),
        ("a.json.gz", Format("json", ".gz")),
        ("a.b.jsonl.gz", Format("json lines", ".gz")),
        ("a.jsonl.zst", Format("json lines", ".zst")),
        ("a.ndjson.bz2", Format("json lines", ".bz2")),
        ("a.jsonlines.xz", Format("json lines", ".xz")),
        ("dump.zst", Format("json", ".zst")),
        ("x.y/dump.gz", Format("json", ".gz")),
        ("a.csv", Format("csv", "")),
        ("a.tsv.xz", Format("tsv", ".xz")),
        ("a.txt.bz2", Format("text", ".bz2")),
        ("a.py", Format("python", "")),
        ("a.parquet", Format("parquet", "")),
        ("a.tar.gz", None),
        ("a.py.gz", None),
        ("a.parquet.gz", None),
        ("a.csv.zip", None),
        ("a.pkl", None),
        ("a.npy", None),
        ("a.pt", None),
        ("a.arrow", None),
        ("json", None),
    ],
)
def test_the_extension_determines_the_format(name: str, found: Format | None) -> None:
    assert format_of(name) == found


def test_every_extension_is_named_in_messages() -> None:
    assert all(ending in ENDINGS for ending in [*KINDS, *PACKINGS])


@pytest.mark.parametrize("packing", PACKERS)
def test_every_format_gives_the_same_rows(packing: str, tmp_path: Path) -> None:
    rows = [row(number, content=f'x = "é, {number}"\n\n"""\n\ty\n') for number in range(2_000)]
    made = {
        "a.jsonl": json_lines(rows),
        "b.ndjson": json_lines(rows),
        "c.csv": separated(rows, ","),
        "d.tsv": separated(rows, "\t"),
    }
    expected = [tuple(value.values()) for value in rows]
    for name, data in made.items():
        (tmp_path / f"{name}{packing}").write_bytes(PACKERS[packing](data))
        batches = list(FilesSource(str(tmp_path / f"{name}{packing}")).batches())
        assert [values for batch in batches for values in batch.rows.iter_rows()] == expected, name
        assert not any(batch.bad for batch in batches)
        assert batches[-1].progress == 1.0


def test_lines_of_a_text_file_are_rows(tmp_path: Path) -> None:
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress("import x\r\n\nprint('é')".encode()))
    (batch,) = FilesSource(str(tmp_path / "a.txt.gz")).batches()
    assert batch.rows["content"].to_list() == ["import x", "", "print('é')"]
