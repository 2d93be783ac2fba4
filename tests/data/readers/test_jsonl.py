from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import zlib
from typing import Any

import pytest
import zstandard

from pipeline.data.readers.frames import text_column
from pipeline.data.readers.jsonl import blocks
from pipeline.data.sources.base import BadRow, Row
from tests.data.examples import json_lines, row

PACKERS = {
    ".gz": gzip.compress,
    ".zst": lambda data: zstandard.ZstdCompressor().compress(data),
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    "": lambda data: data,
}
PACKED = [packing for packing in PACKERS if packing]


def read(data: bytes, packing: str = "") -> tuple[list[Row], list[BadRow]]:
    batches = [block.read() for block in blocks(io.BytesIO(data), "f", len(data), text_column, packing=packing)]
    return [row for batch in batches for row in batch.rows.rows()], [bad for batch in batches for bad in batch.bad]


@pytest.mark.parametrize("packing", PACKERS)
def test_compressed_lines_are_the_same_rows(packing: str) -> None:
    lines = json_lines(row(number) for number in range(2_000))
    good, bad = read(PACKERS[packing](lines), packing)
    assert [item[1] for item in good] == [f"src/file{number}.py" for number in range(2_000)]
    assert not bad


@pytest.mark.parametrize("packing", PACKED)
def test_several_members_and_zero_padding_are_read_to_the_end(packing: str) -> None:
    parts = [PACKERS[packing](json_lines([row(number)])) for number in range(3)]
    good, bad = read(b"".join(parts) + bytes(100_000), packing)
    assert (len(good), bad) == (3, [])


@pytest.mark.parametrize("packing", PACKED)
def test_a_truncated_file_keeps_every_whole_line_and_has_one_bad_row(packing: str) -> None:
    lines = json_lines(row(number, content=json.dumps(list(range(number, number + 500)))) for number in range(1_500))
    packed = PACKERS[packing](lines)
    cut = packed[: len(packed) * 2 // 3]
    decoder: Any = {
        ".gz": lambda: zlib.decompressobj(wbits=31),
        ".zst": lambda: zstandard.ZstdDecompressor().decompressobj(),
        ".bz2": bz2.BZ2Decompressor,
        ".xz": lzma.LZMADecompressor,
    }[packing]()
    whole = decoder.decompress(cut).count(b"\n")
    good, bad = read(cut, packing)
    assert 0 < whole < 1_500
    assert len(good) == whole
    assert bad == [BadRow("file ends too early", f"f:{whole + 1}")]
    assert read(packed, packing)[1] == [], "control: the whole file has no bad rows"


@pytest.mark.parametrize("packing", PACKED)
def test_bytes_that_are_not_compressed_are_one_damaged_file(packing: str) -> None:
    assert read(json_lines([row(1)]), packing) == ([], [BadRow("file is damaged", "f:1")])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"content": "x"', "not JSON"),
        (b'{"content": "x"} {"content": "y"}', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"content": "caf\xe9"}', "not UTF-8"),
        (b'{"content": "half \\ud800"}', "not UTF-8"),
        (b'["content"]', "not a JSON object"),
        (b"7", "not a JSON object"),
        (b'{"path": "a.py"}', "no text column"),
        (b'{"content": null}', "text is null"),
        (b'{"content": 7}', "text is not a string"),
        (b'{"content": ["x"]}', "text is not a string"),
    ],
)
def test_a_bad_line_loses_only_itself_and_reports_its_number(line: bytes, reason: str) -> None:
    first, last = json_lines([row(1)]), json_lines([row(2)])
    good, bad = read(first + b"\n" + line + b"\n" + last)
    assert [item[1] for item in good] == ["src/file1.py", "src/file2.py"]
    assert bad == [BadRow(reason, "f:3")]


def test_missing_columns_are_empty_and_others_become_text() -> None:
    data = b'{"text": "a"}\n{"code": "b", "copies": 3, "license": ["mit"], "path": null}\n{"content": "c", "path": "\\ud800"}'
    good, bad = read(data)
    assert good == [("", "", "", "", "a", ""), ("", "", "3", "", "b", "mit"), ("", "?", "", "", "c", "")]
    assert not bad


def test_a_byte_order_mark_and_windows_line_ends_are_accepted() -> None:
    good, bad = read(b"\xef\xbb\xbf" + json_lines([row(1), row(2)]).replace(b"\n", b"\r\n"))
    assert (len(good), bad) == (2, [])


def test_a_last_line_without_a_line_end_is_a_row_and_an_empty_file_has_none() -> None:
    assert len(read(json_lines([row(1)]).rstrip())[0]) == 1
    assert read(b"") == ([], [])
