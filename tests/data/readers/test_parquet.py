from __future__ import annotations

import io
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.data.readers import buffered_stream, parquet
from pipeline.data.readers.frames import text_column
from pipeline.data.readers.parquet import parquet_blocks
from pipeline.data.sources.base import BadRow, Batch
from tests.data.sources.hostile import text_of
from tests.data.sources.peak import LOOK, peak_megabytes

MB = 2**20


def written(columns: dict[str, Any], **options: Any) -> bytes:
    target = io.BytesIO()
    pq.write_table(pa.table(columns), target, **options)
    return target.getvalue()


def batches(data: bytes) -> Iterator[Batch]:
    for block in parquet_blocks(io.BytesIO(data), "f", text_column):
        yield block.read()


def read(data: bytes) -> tuple[list[str], list[BadRow]]:
    made = list(batches(data))
    return [text for one in made for text in one.rows["content"]], [bad for one in made for bad in one.bad]


def repeated(text: bytes, times: int) -> bytes:
    """One text, stored once, that occurs in `times` rows."""
    value = pa.DictionaryArray.from_arrays(pa.array([0] * times, pa.int32()), pa.array([text.decode()]))
    return written({"content": value}, compression="zstd", dictionary_pagesize_limit=2 * len(text))


@pytest.mark.parametrize("options", [{}, {"use_dictionary": False}, {"row_group_size": 300}])
def test_rows_are_the_same_however_they_are_written(options: dict[str, Any]) -> None:
    texts = [f"import pandas {number}" for number in range(1_000)]
    made = list(batches(written({"content": texts, "license": [["mit"]] * 1_000}, **options)))
    assert [text for one in made for text in one.rows["content"]] == texts
    assert set(pl.concat(one.rows for one in made)["license"]) == {"mit"}
    assert all(len(one.rows) <= parquet.BLOCK_ROWS for one in made)


def test_rows_read_one_by_one_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    data = written({"content": [str(number) * 100 for number in range(300)]})
    every = read(data)
    monkeypatch.setattr(parquet, "MAX_AT_ONCE", 1)
    assert read(data) == every


def test_a_text_that_is_too_long_loses_its_row() -> None:
    assert read(text_of(parquet.LONGEST_TEXT + 1)) == (["a", "b"], [BadRow("longer than 16 MB", "f:2")])


def test_one_text_in_a_million_rows_is_read_up_to_the_limit() -> None:
    texts, bad = read(repeated(b"x" * MB, 1_000_000))
    assert 0 < len(texts) <= 256
    assert bad == [BadRow("grows too far when unpacked", f"f:{len(texts) + 1}")]


def test_a_row_group_that_may_grow_too_far_loses_only_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "LARGEST_ROW", 1_000)
    monkeypatch.setattr(parquet, "MAX_AT_ONCE", 1_000)
    texts = ["a", "b", "x" * 5_000, "c", "d", "e"]
    data = written({"content": texts}, row_group_size=2)
    assert read(data) == (["a", "b", "d", "e"], [BadRow("grows too far when unpacked", "f:3")])


def test_the_sizes_in_the_footer_are_not_trusted() -> None:
    data = text_of(150 * MB)
    size = pq.ParquetFile(io.BytesIO(data)).metadata.row_group(0).column(0).total_uncompressed_size
    digits = bytes(2 * size >> shift & 127 | 128 for shift in (0, 7, 14, 21)) + bytes([2 * size >> 28])
    assert data.count(digits) >= 1
    lying = data.replace(digits, bytes([128 | 100, 128, 128, 128, 0]))
    assert pq.ParquetFile(io.BytesIO(lying)).metadata.row_group(0).column(0).total_uncompressed_size == 50
    assert read(lying) == ([], [BadRow("grows too far when unpacked", "f:1")])


def test_a_damaged_row_group_loses_only_itself() -> None:
    data = bytearray(written({"content": [f"text {number}" for number in range(900)]}, row_group_size=300))
    offset = pq.ParquetFile(io.BytesIO(data)).metadata.row_group(1).column(0).dictionary_page_offset
    data[offset : offset + 40] = bytes([255] * 40)
    texts, bad = read(bytes(data))
    assert texts == [f"text {number}" for number in (*range(300), *range(600, 900))]
    assert bad == [BadRow("file is damaged", "f:301")]


def test_text_that_is_not_utf8_loses_its_row() -> None:
    values = pa.array([b"ok", b"\xff", "é".encode()]).view(pa.string())
    assert read(written({"content": values})) == (["ok", "é"], [BadRow("not UTF-8", "f:2")])


def test_errors_of_the_stream_are_raised() -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() < 100:
                raise ConnectionError("the Hub is away")
            return super().read(size)

    data = written({"content": [f"text {number}" for number in range(9_000)]})
    with pytest.raises(ConnectionError, match="the Hub is away"):
        list(parquet_blocks(Broken(data), "f", text_column))


def test_columns_too_large_to_buffer_are_read_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    data = written({"content": [f"import pandas {number}" for number in range(9_000)]})
    every = read(data)
    monkeypatch.setattr(buffered_stream, "MAX_BUFFERED", 100)
    assert len(every[0]) == 9_000
    assert read(data) == every


@cache
def ordinary_peak(folder: Path) -> float:
    (folder / "ordinary.parquet").write_bytes(written({"content": ["import x"] * 100}))
    return peak_megabytes(LOOK, folder / "ordinary.parquet")


@pytest.mark.slow
@pytest.mark.parametrize(
    "data",
    [
        pytest.param(lambda: text_of(300 * MB), id="one text of 300 MB"),
        pytest.param(lambda: text_of(100 * MB), id="one text of 100 MB"),
        pytest.param(lambda: repeated(b"x" * 8 * MB, 100), id="a text of 8 MB 100 times"),
        pytest.param(lambda: repeated(b"x" * 32 * MB, 60), id="a text of 32 MB 60 times"),
    ],
)
def test_memory_is_bounded_whatever_a_table_holds(data: Any, tmp_path: Path) -> None:
    (tmp_path / "bomb.parquet").write_bytes(data())
    assert (tmp_path / "bomb.parquet").stat().st_size < 100_000
    # Two threads may work on such a text at once, which was seen to take 401 MB.
    assert peak_megabytes(LOOK, tmp_path / "bomb.parquet") < ordinary_peak(tmp_path) + 450


@pytest.mark.parametrize("options", [{}, {"use_dictionary": False}])
def test_a_table_without_rows_is_not_damaged(options: dict[str, Any]) -> None:
    data = written({"content": pa.array([], pa.string())}, **options)
    assert [(len(one.rows), one.bad) for one in batches(data)] in ([], [(0, ())])
