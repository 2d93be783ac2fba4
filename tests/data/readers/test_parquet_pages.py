from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from pipeline.data.readers import parquet_pages as module
from pipeline.data.readers.decompress import StreamError
from pipeline.data.readers.parquet_pages import Page, most_at_once, pages, whole


def written(values: list[str], **options: Any) -> tuple[bytes, int, int]:
    """A column as a file, its offset and its length."""
    target = io.BytesIO()
    parquet.write_table(pa.table({"content": values}), target, **options)
    column = parquet.ParquetFile(target).metadata.row_group(0).column(0)
    start = min(column.dictionary_page_offset or column.data_page_offset, column.data_page_offset)
    return target.getvalue(), start, column.total_compressed_size


def found(values: list[str], **options: Any) -> list[Page]:
    data, start, num_bytes = written(values, **options)
    return pages(io.BytesIO(data), start, num_bytes)


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("compression", ["none", "snappy", "zstd"])
def test_page_sizes_match_the_bytes_of_their_values(version: str, compression: str) -> None:
    values = [f"{number:0100}" for number in range(5_000)]
    options = {"data_page_version": version, "compression": compression, "data_page_size": 10_000}
    made = found(values, use_dictionary=False, **options)
    assert len(made) > 1
    assert sum(page.num_values for page in made) == 5_000
    assert 5_000 * 104 <= sum(page.num_bytes for page in made) < 5_000 * 106
    assert {page.longest for page in made} == {8}


def test_a_dictionary_page_may_give_its_longest_text_to_every_row() -> None:
    made = found(["x" * 100_000] * 1_000)
    assert sum(page.num_values for page in made) == 1_000
    assert sum(page.num_bytes for page in made) < 200_000
    assert most_at_once(made, 10) >= 1_000_000
    assert whole(made) >= 100_000_000


def test_a_text_with_the_prefix_of_the_last_one_may_take_no_space() -> None:
    made = found(["x" * 100_000] * 1_000, use_dictionary=False, column_encoding={"content": "DELTA_BYTE_ARRAY"})
    assert sum(page.num_bytes for page in made) < 200_000
    assert whole(made) >= 100_000_000


def test_most_at_once_is_the_largest_window_of_consecutive_rows() -> None:
    made = [Page(10, size, 0) for size in (1, 100, 200, 1)]
    assert [most_at_once(made, rows) for rows in (1, 2, 12, 21, 22)] == [200, 300, 301, 301, 302]
    assert most_at_once([], 5) == 0


def test_bytes_without_pages_are_damaged() -> None:
    data, start, num_bytes = written(["a", "b"])
    for damaged in (bytes([255]) * len(data), bytes(len(data)), b"", data[: start + 5]):
        with pytest.raises(StreamError, match="damaged"):
            pages(io.BytesIO(damaged), start, num_bytes)
    assert pages(io.BytesIO(data), start, num_bytes), "control"


def test_too_many_pages_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PAGES", 2)
    with pytest.raises(StreamError, match="grows too far"):
        found([f"{number:0100}" for number in range(5_000)], use_dictionary=False, data_page_size=10_000)
