"""Chooses the files of a corpus from the parts of a filtered source, and the split of each.

Runs in one process, in the order of the source, so that the result does not depend on how the source was filtered.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.config.quality import QualityConfig
from pipeline.data.filter import shard_filter
from pipeline.data.filter.duplicates import Duplicates
from pipeline.data.filter.parquet_shards import ShardWriter
from pipeline.data.filter.shard_filter import KEY, PRINT, FilterTask
from pipeline.data.filter.split import SPLITS, Splitter
from pipeline.data.report.removals import Removed
from pipeline.data.sources import COLUMNS

if TYPE_CHECKING:
    import polars as pl


class Chooser:
    """Takes complete parts and writes `files-<split>-*.parquet` into `folder`; removes those of an earlier attempt."""

    def __init__(self, folder: Path, validation_share: float, quality: QualityConfig) -> None:
        for old in [*folder.glob("files-*.parquet"), *folder.glob(".files-*.tmp")]:
            old.unlink()
        self.num_chosen = 0
        self._removed = Removed()
        self.writers = {split: ShardWriter(folder, split) for split in SPLITS}
        self._splitter: Splitter | None = None
        self._validation_share = validation_share
        self._duplicates = Duplicates(quality) if quality.compares else None

    @property
    def names(self) -> list[str]:
        """Names of the files that were written."""
        return [name for writer in self.writers.values() for name in writer.names]

    def take_removed(self) -> Removed:
        """What the comparison with earlier files removed since the last call."""
        removed, self._removed = self._removed, Removed()
        return removed

    def add(self, task: FilterTask, *, limit: int | None, split: str | None) -> tuple[int, int]:
        """Take at most `limit` files of the part of `task`; returns how many, and how many of the part's files were
        looked at for that. All go to `split`; if that is None, they are divided by their hashes.
        """
        num_chosen = num_seen = 0
        for rows in shard_filter.kept_rows(task):
            chosen, seen = self._unique_rows(rows, None if limit is None else limit - num_chosen)
            num_chosen += len(chosen)
            num_seen += seen
            if len(chosen):
                self._write({split: chosen} if split else self._divided(chosen))
            if num_chosen == limit:
                break
        self.num_chosen += num_chosen
        return num_chosen, num_seen

    def close(self) -> None:
        """Write the buffered files."""
        if self._splitter is not None:
            self._write(self._splitter.rest())
        for writer in self.writers.values():
            writer.close()

    def _unique_rows(self, rows: pl.DataFrame, limit: int | None) -> tuple[pl.DataFrame, int]:
        """The first `limit` rows that duplicate no earlier one, and the number of rows up to the last of them."""
        import numpy as np

        if self._duplicates is None:
            rows = rows if limit is None else rows.head(limit)
            return rows, len(rows)
        keys = rows[KEY].to_list() if KEY in rows.columns else None
        prints = None
        if PRINT in rows.columns:
            prints = np.frombuffer(b"".join(rows[PRINT].to_list()), np.uint32).reshape(len(rows), -1)
        rows = rows.select(COLUMNS)
        reasons, originals = self._duplicates.find(rows, keys, prints, limit=limit)
        rows = rows.head(len(reasons))  # `find` has ended at the limit
        self._removed.add(rows, reasons, originals)
        return rows.filter(reasons.is_null()), len(rows)

    def _divided(self, rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
        self._splitter = self._splitter or Splitter(self._validation_share)
        return self._splitter.divide(rows)

    def _write(self, divided: dict[str, pl.DataFrame]) -> None:
        for split, rows in divided.items():
            self.writers[split].add(rows)
