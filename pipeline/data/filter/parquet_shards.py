"""Writes kept files to parquet files of bounded size, with the same bytes for the same rows, and reads them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from pipeline.core.errors import DamagedError
from pipeline.data.sources.base import content_bytes

if TYPE_CHECKING:
    import polars as pl


class ShardWriter:
    """Writes `files-<split>-00000.parquet` and so on into `folder`; each becomes visible when it is complete.

    A shard is full at `max_rows`, or at `max_bytes` of text, so that a whole shard fits in memory on any machine.
    """

    def __init__(self, folder: Path, split: str, *, max_rows: int = 4_096, max_bytes: int = 64_000_000) -> None:
        self.names: list[str] = []
        self.num_rows = self.num_bytes = 0
        self._folder = folder
        self._split = split
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._pending: list[pl.DataFrame] = []
        self._pending_bytes = 0

    def add(self, rows: pl.DataFrame) -> None:
        if not len(rows):
            return
        self._pending.append(rows)
        self._pending_bytes += content_bytes(rows)
        if sum(map(len, self._pending)) >= self._max_rows or self._pending_bytes >= self._max_bytes:
            self._write()

    def close(self) -> None:
        """Write the buffered rows."""
        if self._pending:
            self._write()

    def _write(self) -> None:
        import polars as pl

        rows = pl.concat(self._pending)
        path = self._folder / f"files-{self._split}-{len(self.names):05}.parquet"
        staged = path.with_name(f".{path.name}.tmp")
        rows.write_parquet(staged, compression="zstd", compression_level=3, row_group_size=1_024)
        staged.replace(path)
        self.names.append(path.name)
        self.num_rows += len(rows)
        self.num_bytes += self._pending_bytes
        self._pending, self._pending_bytes = [], 0


def files(folder: Path, split: str) -> list[Path]:
    """The shards of one split, in the order they were written."""
    return sorted(folder.glob(f"files-{split}-*.parquet"))


def texts(source: Path | BinaryIO, *, group_characters: int = 2_000_000) -> Iterator[list[str]]:
    """The texts of one shard in groups of about `group_characters`, in the order they were written."""
    import polars as pl

    group: list[str] = []
    size = 0
    for text in pl.read_parquet(source, columns=["content"], glob=False)["content"]:
        group.append(text)
        size += len(text)
        if size >= group_characters:
            yield group
            group, size = [], 0
    if group:
        yield group


def num_rows(path: Path) -> int:
    """Number of kept files in one shard, from its metadata. Raises DamagedError when it cannot be read."""
    import polars as pl

    with _readable(path):
        return int(pl.scan_parquet(path, glob=False).select(pl.len()).collect().item())


def facts(path: Path, row: int) -> dict[str, str]:
    """`repo`, `path` and `license` of one kept file of a shard. Raises DamagedError when it cannot be read."""
    import polars as pl

    columns = {"repo_name": "repo", "path": "path", "license": "license"}
    with _readable(path):
        found = pl.scan_parquet(path, glob=False).select(list(columns)).slice(row, 1).collect().row(0, named=True)
    return {new: str(found[old] or "") for old, new in columns.items()}


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    import polars as pl

    try:
        yield
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise DamagedError(
            f"{path.name} of corpus {path.parent.name} cannot be read; delete the corpus and prepare it again."
        ) from error
