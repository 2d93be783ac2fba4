"""Kept files on disk: parquet files of bounded size, the same bytes for the same rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.data.sources.batch import content_bytes

if TYPE_CHECKING:
    import polars as pl

MAX_ROWS = 4_096
MAX_BYTES = 64_000_000
"""Text in one shard, so that reading one whole fits in memory anywhere."""


class ShardWriter:
    """Writes `files-<split>-00000.parquet` and so on into `folder`; each becomes visible when it is complete."""

    def __init__(self, folder: Path, split: str) -> None:
        self.names: list[str] = []
        self.num_rows = 0
        self._folder = folder
        self._split = split
        self._pending: list[pl.DataFrame] = []
        self._pending_rows = self._pending_bytes = 0

    def add(self, rows: pl.DataFrame) -> None:
        if not len(rows):
            return
        self._pending.append(rows)
        self._pending_rows += len(rows)
        self._pending_bytes += content_bytes(rows)
        if self._pending_rows >= MAX_ROWS or self._pending_bytes >= MAX_BYTES:
            self._write()

    def close(self) -> None:
        """Write what is left."""
        if self._pending:
            self._write()

    def _write(self) -> None:
        import polars as pl

        path = self._folder / f"files-{self._split}-{len(self.names):05}.parquet"
        staged = path.with_name(f".{path.name}.tmp")
        pl.concat(self._pending).write_parquet(staged, compression="zstd", compression_level=3, row_group_size=1_024)
        staged.replace(path)
        self.names.append(path.name)
        self.num_rows += self._pending_rows
        self._pending, self._pending_rows, self._pending_bytes = [], 0, 0


def texts(folder: Path, split: str) -> Iterator[list[str]]:
    """The texts of one split's files, a few megabytes at a time, in the order they were written."""
    import polars as pl

    for path in sorted(folder.glob(f"files-{split}-*.parquet")):
        content = pl.read_parquet(path, columns=["content"])["content"]
        group: list[str] = []
        size = 0
        for text in content:
            group.append(text)
            size += len(text)
            if size >= GROUP_CHARACTERS:
                yield group
                group, size = [], 0
        if group:
            yield group


GROUP_CHARACTERS = 2_000_000
