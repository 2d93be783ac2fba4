from __future__ import annotations

from pathlib import Path

import polars as pl

from pipeline.data.filter import parquet_shards
from pipeline.data.sources import COLUMNS
from tests.data.examples import batch, code, row


def write(folder: Path, num_rows: int, batch_rows: int, **bounds: int) -> parquet_shards.ShardWriter:
    folder.mkdir(exist_ok=True)
    writer = parquet_shards.ShardWriter(folder, "train", **bounds)
    for start in range(0, num_rows, batch_rows):
        writer.add(batch([row(number) for number in range(start, min(num_rows, start + batch_rows))]).rows)
    writer.close()
    return writer


def test_rows_come_back_in_their_order_with_all_columns(tmp_path: Path) -> None:
    writer = write(tmp_path, 30, 7)
    assert writer.names == ["files-train-00000.parquet"]
    assert (writer.num_rows, writer.num_bytes) == (30, sum(len(code(number)) for number in range(30)))
    assert pl.read_parquet(tmp_path / writer.names[0]).rows() == [
        tuple(row(number)[column] for column in COLUMNS) for number in range(30)
    ]
    (path,) = parquet_shards.files(tmp_path, "train")
    assert list(parquet_shards.texts(path)) == [[code(number) for number in range(30)]]
    with path.open("rb") as file:
        assert list(parquet_shards.texts(file)) == [[code(number) for number in range(30)]]


def test_shards_are_bounded_by_rows_and_by_bytes(tmp_path: Path) -> None:
    assert len(write(tmp_path / "rows", 35, 5, max_rows=10).names) == 4
    assert len(write(tmp_path / "bytes", 35, 5, max_bytes=5 * len(code(0))).names) == 7


def test_texts_come_in_groups(tmp_path: Path) -> None:
    write(tmp_path, 35, 5)
    groups = list(parquet_shards.texts(parquet_shards.files(tmp_path, "train")[0], group_characters=3 * len(code(0))))
    assert [text for group in groups for text in group] == [code(number) for number in range(35)]
    assert max(map(len, groups)) == 3


def test_the_same_rows_make_the_same_bytes(tmp_path: Path) -> None:
    first, second = (write(tmp_path / name, 50, 9) for name in ("a", "b"))
    assert (tmp_path / "a" / first.names[0]).read_bytes() == (tmp_path / "b" / second.names[0]).read_bytes()


def test_a_split_without_rows_leaves_nothing(tmp_path: Path) -> None:
    assert write(tmp_path, 0, 1).names == []
    assert list(tmp_path.iterdir()) == []
    assert parquet_shards.files(tmp_path, "train") == []
