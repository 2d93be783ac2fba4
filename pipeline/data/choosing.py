"""From the parts of a filtered source to the files of a corpus: which are kept in the end, and in which split.

One process, in the order of the source, so that how the source was filtered changes nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.data import filtering
from pipeline.data.filtering import FilterTask, Part
from pipeline.data.samples import Samples
from pipeline.data.shards import ShardWriter
from pipeline.data.split import SPLITS, Splitter

if TYPE_CHECKING:
    import polars as pl


class Chooser:
    """Takes complete parts and writes `files-<split>-*.parquet` into `folder`; those of an earlier try are removed."""

    def __init__(self, folder: Path, keywords: tuple[str, ...], validation_share: float) -> None:
        for old in [*folder.glob("files-*.parquet"), *folder.glob(".files-*.tmp")]:
            old.unlink()
        self.samples = Samples()
        self.num_chosen = 0
        self.writers = {split: ShardWriter(folder, split) for split in SPLITS}
        self._splitter: Splitter | None = None
        self._validation_share = validation_share

    @property
    def names(self) -> list[str]:
        """Of the files that were written."""
        return [name for writer in self.writers.values() for name in writer.names]

    def add(self, task: FilterTask, *, most: int | None, split: str | None) -> Part:
        """Take at most `most` files of the part of `task`: all into `split`, or with None divided by their hashes."""
        part = filtering.read_part(task)
        assert part is not None, f"{task} is not done"
        self.samples.merge(part.samples)
        num_before = self.num_chosen
        for rows in filtering.kept_rows(task):
            chosen = rows if most is None else rows.head(most - (self.num_chosen - num_before))
            if not len(chosen):
                break
            self.num_chosen += len(chosen)
            self._write({split: chosen} if split else self._divided(chosen))
        return part

    def close(self) -> None:
        """Write what is left."""
        if self._splitter is not None:
            self._write(self._splitter.rest())
        for writer in self.writers.values():
            writer.close()

    def _divided(self, rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
        self._splitter = self._splitter or Splitter(self._validation_share)
        return self._splitter.divide(rows)

    def _write(self, divided: dict[str, pl.DataFrame]) -> None:
        for split, rows in divided.items():
            self.writers[split].add(rows)
