"""`process_shard`: filters one shard of a source. This is the work that is distributed over processes.

    <target>.parquet     the kept files, in the shard's order
    <target>.json        the results, written last: when it exists, the part is complete
    <target>.live.json   the results so far, for the progress display

A pure function of the shard and the settings: the same bytes in every process, on every machine, with every engine.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from pipeline.config.quality import NO_RULES, QualityConfig
from pipeline.data.execution import storage
from pipeline.data.filter.matching import Matched, Matcher, kept
from pipeline.data.preview.scan import matched
from pipeline.data.progress import Stopped
from pipeline.data.report.removals import Removed
from pipeline.data.report.samples import Sample, Samples
from pipeline.data.report.scan_report import Report
from pipeline.data.sources import COLUMNS, Shard
from pipeline.data.sources.base import content_bytes

if TYPE_CHECKING:
    import polars as pl

FORMAT = 3
"""Version of the parts. Change it whenever `process_shard` writes something else for the same shard and settings, so
that parts of an earlier version are not used.
"""
GROUP_ROWS = 1_024
GROUP_BYTES = 32 * 2**20
"""Kept files are written in groups of so many rows or bytes, whichever comes first, to bound the memory of writer and
reader.
"""
LIVE_SECONDS = 1.0
KEY, PRINT = "exact_key", "signature"
"""Columns of a part that are compared to find duplicates (see duplicates.py)."""


@dataclass(frozen=True, kw_only=True)
class FilterTask:
    """One shard, and how to filter it."""

    shard: Shard
    target: str
    """Address of the part, without a file extension."""
    keywords: tuple[str, ...]
    match: str = "substring"
    max_good: int | None = None
    """Stop reading after so many kept files that no rule for single files removes."""
    quality: QualityConfig = NO_RULES

    def __str__(self) -> str:
        return f"Filtering {self.shard.name}"


@dataclass(frozen=True)
class Part:
    """The results of a shard, or those so far while it is being read."""

    report: Report
    samples: Samples
    removed: Removed
    progress: float
    """Share of the shard that was read, 0 to 1."""

    @property
    def num_good(self) -> int:
        """Number of kept files that no rule for single files removes."""
        return self.report.kept - self.removed.num_files


def process_shard(task: FilterTask, should_stop: Callable[[], bool] = lambda: False) -> None:
    """Filter the shard of `task` and write its part. Raises Stopped when `should_stop()` is true; no part is left."""
    live = _Live(task.target)
    report, samples, removed = Report(task.keywords), Samples(), Removed()

    def write(file: BinaryIO) -> None:
        with closing(_judged(task)) as parts, _Writer(file, task.quality) as writer:
            started = time.perf_counter()
            for found, reasons in parts:
                if should_stop():
                    raise Stopped
                report.add(found)
                samples.add(found)
                good = found.rows
                if not task.quality.is_none:
                    removed.add(found.rows, reasons)
                    good = _with_keys(found.rows.filter(reasons.is_null()), task.quality)
                writer.add(good)
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
    """The complete part of `task`; None until it is complete."""
    return _read(f"{task.target}.json") if is_done(task) else None


def read_live(task: FilterTask) -> Part | None:
    """The latest results of the shard of `task` while it is being read; None if there are none."""
    return None if "://" in task.target else _read(f"{task.target}.live.json")  # written on this machine only


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
    PRINT if files are to be compared.
    """
    import polars as pl
    import pyarrow.parquet as parquet

    with storage.open_read(f"{task.target}.parquet") as file:
        for group in parquet.ParquetFile(file).iter_batches(GROUP_ROWS):
            frame = pl.from_arrow(group)
            assert isinstance(frame, pl.DataFrame)
            yield frame


def _judged(task: FilterTask) -> Generator[tuple[Matched, pl.Series], None, None]:
    """The batches of the shard, and for each kept row the rule for single files that removes it, or null. Ends with the
    row of its good file number `max_good`.
    """
    matcher, num_good = Matcher(task.keywords, task.match), 0
    with closing(matched([task.shard], matcher)) as parts:
        for found in parts:
            reasons = _reasons(found.rows, task.quality)
            num_left = None if task.max_good is None else task.max_good - num_good
            num_good += reasons.null_count()
            if num_left is None or reasons.null_count() < num_left:
                yield found, reasons
                continue
            cut = _cut(found, matcher, reasons, num_left)
            yield cut, reasons.head(len(cut.rows))
            return


def _reasons(rows: pl.DataFrame, config: QualityConfig) -> pl.Series:
    """For each row the rule for single files that removes it, or null."""
    import polars as pl

    from pipeline.data.filter import quality

    if config.is_none:
        return pl.Series("reason", [None] * len(rows), dtype=pl.String)
    return quality.reasons(rows, config)


def _cut(found: Matched, matcher: Matcher, reasons: pl.Series, num_good: int) -> Matched:
    """`found` up to the row of its good file number `num_good`; `reasons` are those of its kept rows."""
    last_kept = reasons.is_null().arg_true()[num_good - 1]
    last_row = kept(matcher.hits(found.batch.rows["content"])).arg_true()[last_kept]
    return matcher.matched(found.batch.head(last_row + 1))


def _with_keys(rows: pl.DataFrame, config: QualityConfig) -> pl.DataFrame:
    """`rows` with KEY and PRINT if files are to be compared."""
    import polars as pl

    from pipeline.data.filter import duplicates

    if config.drop_exact_duplicates:
        rows = rows.with_columns(pl.Series(KEY, duplicates.exact_keys(rows), dtype=pl.Binary))
    if config.near_duplicate_jaccard is not None:
        prints = [one.tobytes() for one in duplicates.signatures(rows)]
        rows = rows.with_columns(pl.Series(PRINT, prints, dtype=pl.Binary))
    return rows


def _state(part: Part) -> dict[str, Any]:
    """`part` as JSON-serializable data."""
    return {
        "report": part.report.state(),
        "samples": [dataclasses.asdict(sample) for sample in part.samples.to_list()],
        "removed": part.removed.to_dict(),
        "progress": part.progress,
    }


class _Live:
    """Writes the results so far beside the part, but only on this machine, where that costs nothing."""

    def __init__(self, target: str) -> None:
        self._path = None if "://" in target else Path(f"{target}.live.json")
        self._shown_at = time.monotonic()

    def show(self, part: Part) -> None:
        if self._path is None or time.monotonic() - self._shown_at < LIVE_SECONDS:
            return
        self._shown_at = time.monotonic()
        staged = self._path.with_name(f".{self._path.name}.tmp")
        # Not synced: the file is removed at the end, and its loss does no harm.
        staged.write_text(json.dumps(_state(part), allow_nan=False))
        staged.replace(self._path)

    def end(self) -> None:
        if self._path is not None:
            self._path.unlink(missing_ok=True)


class _Writer:
    """Writes kept files to a parquet file, group by group."""

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
