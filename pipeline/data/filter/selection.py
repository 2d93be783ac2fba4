"""From the parts of a filtered source to the files of a corpus: which are kept in the end, and in which split.

One process, in the order of the source, so that how the source was filtered changes nothing.
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
    """Takes complete parts and writes `files-<split>-*.parquet` into `folder`; those of an earlier try are removed."""

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
        """Of the files that were written."""
        return [name for writer in self.writers.values() for name in writer.names]

    def take_removed(self) -> Removed:
        """What comparison with files before removed since it was last asked for."""
        removed, self._removed = self._removed, Removed()
        return removed

    def add(self, task: FilterTask, *, most: int | None, split: str | None) -> int:
        """Take at most `most` files of the part of `task`, all into `split`, or with None divided by their hashes; returns
        how many.
        """
        num_chosen = 0
        for rows in shard_filter.kept_rows(task):
            chosen = self._first_ones(rows, None if most is None else most - num_chosen)
            num_chosen += len(chosen)
            if len(chosen):
                self._write({split: chosen} if split else self._divided(chosen))
            if num_chosen == most:
                break
        self.num_chosen += num_chosen
        return num_chosen

    def close(self) -> None:
        """Write what is left."""
        if self._splitter is not None:
            self._write(self._splitter.rest())
        for writer in self.writers.values():
            writer.close()

    def _first_ones(self, rows: pl.DataFrame, most: int | None) -> pl.DataFrame:
        """The first `most` rows that duplicate none before them."""
        import numpy as np

        if self._duplicates is None:
            return rows if most is None else rows.head(most)
        keys = rows[KEY].to_list() if KEY in rows.columns else None
        prints = None
        if PRINT in rows.columns:
            prints = np.frombuffer(b"".join(rows[PRINT].to_list()), np.uint32).reshape(len(rows), -1)
        rows = rows.select(COLUMNS)
        reasons, of = self._duplicates.find(rows, keys, prints, most=most)
        rows = rows.head(len(reasons))  # no more than these were looked at
        self._removed.add(rows, reasons, of)
        return rows.filter(reasons.is_null())

    def _divided(self, rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
        self._splitter = self._splitter or Splitter(self._validation_share)
        return self._splitter.divide(rows)

    def _write(self, divided: dict[str, pl.DataFrame]) -> None:
        for split, rows in divided.items():
            self.writers[split].add(rows)
