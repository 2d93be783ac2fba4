"""`process_shard`: one shard of a source in, its kept files and its report out. The work that is spread over processes.

    <target>.parquet     the kept files, in the shard's order
    <target>.json        what was found, written last: when it is there, the part is complete
    <target>.live.json   what was found so far, for whoever watches

A pure function of the shard and the settings: the same bytes in every process, on every machine, with every engine.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from pipeline.config.quality import NO_RULES, QualityConfig
from pipeline.data.execution import storage
from pipeline.data.filter.matching import Matcher
from pipeline.data.preview.scan import matched
from pipeline.data.progress import Stopped
from pipeline.data.report.removals import Removed
from pipeline.data.report.samples import Sample, Samples
from pipeline.data.report.scan_report import Report
from pipeline.data.sources import COLUMNS, Shard
from pipeline.data.sources.base import content_bytes

if TYPE_CHECKING:
    import polars as pl

FORMAT = 2
"""Of parts. Another one whenever `process_shard` makes something else of the same shard and settings, so that what an
earlier version left is not taken for its own.
"""
GROUP_ROWS = 1_024
GROUP_BYTES = 32 * 2**20
"""Kept files are written in groups of so many, whichever comes first, so that neither side needs more memory."""
LIVE_SECONDS = 1.0
KEY, PRINT = "exact_key", "signature"
"""Columns of a part that files are compared by (see duplicates.py)."""


@dataclass(frozen=True, kw_only=True)
class FilterTask:
    """One shard, and how to filter it."""

    shard: Shard
    target: str
    """Address of the part, without an ending."""
    keywords: tuple[str, ...]
    match: str = "substring"
    max_kept: int | None = None
    """Read no further than so many kept files; None also where a rule may remove some of them."""
    quality: QualityConfig = NO_RULES

    def __str__(self) -> str:
        return f"Filtering {self.shard.name}"


@dataclass(frozen=True)
class Part:
    """What became of a shard, or what is known of it while it is read."""

    report: Report
    samples: Samples
    removed: Removed
    progress: float
    """Share of the shard that was read."""


def process_shard(task: FilterTask, should_stop: Callable[[], bool] = lambda: False) -> None:
    """Filter the shard of `task` and write its part. Raises Stopped when `should_stop()`, and then writes nothing."""
    live = _Live(task.target)
    report, samples, removed = Report(task.keywords), Samples(), Removed()

    def write(file: BinaryIO) -> None:
        parts = matched([task.shard], Matcher(task.keywords, task.match), max_kept=task.max_kept)
        with closing(parts), _Writer(file, task.quality) as writer:
            started = time.perf_counter()
            for found in parts:
                if should_stop():
                    raise Stopped
                report.add(found)
                samples.add(found)
                writer.add(_good(found.rows, task.quality, removed))
                report.seconds += time.perf_counter() - started
                live.show(Part(report, samples, removed, found.batch.progress or 0.0))
                started = time.perf_counter()

    storage.write_atomically(f"{task.target}.parquet", write)
    found = json.dumps(_state(Part(report, samples, removed, 1.0)), allow_nan=False).encode()
    storage.write_atomically(f"{task.target}.json", lambda file: file.write(found))
    live.end()


def is_done(task: FilterTask) -> bool:
    """Whether the part of `task` is complete."""
    return storage.exists(f"{task.target}.json") and storage.exists(f"{task.target}.parquet")


def read_part(task: FilterTask) -> Part | None:
    """The complete part of `task`; None while there is none."""
    return _read(f"{task.target}.json") if is_done(task) else None


def read_live(task: FilterTask) -> Part | None:
    """What was last shown of the shard of `task` while it is read; None when nothing was."""
    return None if "://" in task.target else _read(f"{task.target}.live.json")  # nobody shows it elsewhere


def _read(address: str) -> Part | None:
    try:
        with storage.open_read(address) as file:
            state = json.loads(file.read())
    except (FileNotFoundError, ValueError):
        return None
    samples = [Sample(**{**one, "keywords": tuple(one["keywords"])}) for one in state["samples"]]
    removed = Removed.from_dict(state["removed"])
    return Part(Report.from_state(state["report"]), Samples.of(samples), removed, state["progress"])


def kept_rows(task: FilterTask) -> Iterator[pl.DataFrame]:
    """The kept files of a complete part that no rule for single files removes, a group at a time: COLUMNS, and KEY and
    PRINT where files are to be compared.
    """
    import polars as pl
    import pyarrow.parquet as parquet

    with storage.open_read(f"{task.target}.parquet") as file:
        for group in parquet.ParquetFile(file).iter_batches(GROUP_ROWS):
            frame = pl.from_arrow(group)
            assert isinstance(frame, pl.DataFrame)
            yield frame


def _good(rows: pl.DataFrame, config: QualityConfig, removed: Removed) -> pl.DataFrame:
    """The rows that no rule for single files removes, with what files are compared by, if they are to be."""
    import polars as pl

    from pipeline.data.filter import duplicates, quality

    if config.is_none:
        return rows
    reasons = quality.reasons(rows, config)
    removed.add(rows, reasons)
    rows = rows.filter(reasons.is_null())
    if config.drop_exact_duplicates:
        rows = rows.with_columns(pl.Series(KEY, duplicates.exact_keys(rows), dtype=pl.Binary))
    if config.near_duplicate_jaccard is not None:
        prints = [one.tobytes() for one in duplicates.signatures(rows)]
        rows = rows.with_columns(pl.Series(PRINT, prints, dtype=pl.Binary))
    return rows


def _state(part: Part) -> dict[str, Any]:
    """As JSON holds it."""
    return {
        "report": part.report.state(),
        "samples": [dataclasses.asdict(sample) for sample in part.samples.to_list()],
        "removed": part.removed.to_dict(),
        "progress": part.progress,
    }


class _Live:
    """Shows what was found so far, where that costs nothing: beside a part on this machine."""

    def __init__(self, target: str) -> None:
        self._path = None if "://" in target else Path(f"{target}.live.json")
        self._shown_at = time.monotonic()

    def show(self, part: Part) -> None:
        if self._path is None or time.monotonic() - self._shown_at < LIVE_SECONDS:
            return
        self._shown_at = time.monotonic()
        staged = self._path.with_suffix(".tmp")
        # Neither synced nor kept: when it is lost, nothing is.
        staged.write_text(json.dumps(_state(part), allow_nan=False))
        staged.replace(self._path)

    def end(self) -> None:
        if self._path is not None:
            self._path.unlink(missing_ok=True)


class _Writer:
    """Kept files into a parquet file, group by group."""

    def __init__(self, file: BinaryIO, config: QualityConfig) -> None:
        import pyarrow as arrow
        import pyarrow.parquet as parquet

        compared = {KEY: config.drop_exact_duplicates, PRINT: config.near_duplicate_jaccard is not None}
        self._schema = arrow.schema(
            [
                *((name, arrow.large_string()) for name in COLUMNS),
                *((name, arrow.large_binary()) for name, is_there in compared.items() if is_there),
            ]
        )
        self._parquet = parquet.ParquetWriter(file, self._schema, compression="zstd", compression_level=1)
        self._pending: list[pl.DataFrame] = []
        self._num_bytes = 0

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *error: object) -> None:
        if error[0] is None:
            self._write()
        self._parquet.close()

    def add(self, rows: pl.DataFrame) -> None:
        for start in range(0, len(rows), GROUP_ROWS):
            self._pending.append(rows.slice(start, GROUP_ROWS))
            self._num_bytes += content_bytes(self._pending[-1])
            if sum(map(len, self._pending)) >= GROUP_ROWS or self._num_bytes >= GROUP_BYTES:
                self._write()

    def _write(self) -> None:
        import polars as pl

        if self._pending:
            self._parquet.write_table(pl.concat(self._pending).to_arrow().cast(self._schema))
        self._pending, self._num_bytes = [], 0
