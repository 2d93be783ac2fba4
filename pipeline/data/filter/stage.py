"""The first stage of a preparation: filters every shard of the source, with any engine, and chooses the files.

The parts are in a folder whose name is a hash of all that determines them, so that complete parts are never made again.
`clean_up` removes those in the corpus folder.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Any

from pipeline.config.schema import DataConfig, ExecutionConfig
from pipeline.core.atomic_io import sha256, write_json
from pipeline.core.errors import InputError
from pipeline.core.paths import CorpusFolder
from pipeline.data.execution import open_executor
from pipeline.data.filter import shard_filter
from pipeline.data.filter.selection import Chooser
from pipeline.data.filter.shard_filter import FilterTask, Part
from pipeline.data.progress import Progress, Stopped
from pipeline.data.report.removals import Removed
from pipeline.data.report.samples import Samples
from pipeline.data.report.scan_report import Report
from pipeline.data.sources import open_source
from pipeline.data.sources.shard import fingerprint

SHOW_EVERY_SECONDS = 1.0


class FilterStage:
    def __init__(
        self, folder: CorpusFolder, config: DataConfig, workforce: ExecutionConfig, progress: Progress
    ) -> None:
        self._folder = folder
        self._config = config
        self._engine = open_executor(workforce.engine, workforce.workers, parts=workforce.parts)
        self._workers = workforce.workers
        self._parts = workforce.parts or str(folder.parts)
        self._progress = progress
        self._source: Found | None = None
        """The results of the source, set before the validation source is filtered."""

    def scan(self) -> dict[str, Any]:
        """Filter the source and write its report and samples; the parts stay, for `run` to choose from."""
        config = self._config
        tasks, found = self._tasks(config.source, config.max_files), Found(config.keywords)
        for task in self._done(tasks, found, config.max_files):
            left = None if config.max_files is None else config.max_files - found.num_good
            found.add_part(task if left is None else self._cut(task, left))
            if config.max_files is not None and found.num_good >= config.max_files:
                break
        return self._write(found, is_done=True)

    def run(self) -> tuple[dict[str, Any], list[str]]:
        """Facts about the source, and the names of the files written. Raises InputError when too few files are kept."""
        config, other = self._config, self._config.validation_source
        chooser = Chooser(self._folder.path, config.validation_share, config.quality)
        found = self._choose(chooser, config.source, config.max_files, "train" if other else None)
        if other:
            self._source = found
            held_out = self._choose(chooser, other, config.max_validation_files, "validation")
        chooser.close()
        self._write(held_out if other else found, is_done=True)
        return {
            "scanned": found.report.scanned,
            "kept": found.report.kept,
            "files": chooser.num_chosen,
            **{f"files_{split}": writer.num_rows for split, writer in chooser.writers.items()},
            **{f"{split}_bytes": writer.num_bytes for split, writer in chooser.writers.items()},
            "sha256": {name: sha256(self._folder.path / name) for name in chooser.names},
        }, [self._folder.report.name, self._folder.samples.name, *chooser.names]

    def clean_up(self) -> None:
        """Remove the parts, which are not needed once the files of the corpus are written."""
        shutil.rmtree(self._folder.parts, ignore_errors=True)

    def _choose(self, chooser: Chooser, source: str, limit: int | None, split: str | None) -> Found:
        """Filter `source` and take at most `limit` files from it. Raises InputError when there are too few."""
        tasks, found = self._tasks(source, limit), Found(self._config.keywords)
        num_chosen = 0
        for task in self._done(tasks, found, limit):
            left = None if limit is None else limit - num_chosen
            num_taken, num_seen = chooser.add(task, limit=left, split=split)
            num_chosen += num_taken
            found.add_part(self._cut(task, num_seen) if num_chosen == limit else task)
            self._progress.check()
            if num_chosen == limit:
                break
        found.removed.merge(chooser.take_removed())
        self._check(source, found, num_chosen, 1 if split else 2)
        return found

    def _cut(self, task: FilterTask, num_good: int) -> FilterTask:
        """The task of the same shard up to its good file `num_good`, done; the task itself when it has no more. So the
        report counts nothing behind the last file of the corpus.
        """
        part = shard_filter.read_part(task)
        if part is None or part.num_good <= num_good:
            return task
        cut = dataclasses.replace(task, target=f"{task.target}-{num_good}", max_good=num_good)
        if not shard_filter.is_done(cut):
            shard_filter.process_shard(cut, lambda: self._progress.stop_requested)
        return cut

    def _tasks(self, source: str, max_good: int | None) -> list[FilterTask]:
        config, shards = self._config, open_source(source).shards(lambda: self._progress.stop_requested)
        self._progress.check()
        max_good = None if config.quality.compares else max_good
        rules = dataclasses.asdict(config.quality)
        made_by = [shard_filter.FORMAT, version("rensa")] if config.quality.compares else [shard_filter.FORMAT]
        settings = [source, config.keywords, config.match, max_good, rules]
        decides = [made_by, settings, [fingerprint(shard) for shard in shards]]
        key = hashlib.blake2b(json.dumps(decides).encode(), digest_size=8).hexdigest()
        return [
            FilterTask(
                shard=shard,
                target=f"{self._parts}/{key}/{number:05}",
                keywords=config.keywords,
                match=config.match,
                max_good=max_good,
                quality=config.quality,
            )
            for number, shard in enumerate(shards)
        ]

    def _done(self, tasks: list[FilterTask], found: Found, limit: int | None) -> Iterator[FilterTask]:
        """Every task once it is done, in order. All tasks are started at once; with a `limit`, which a few of them may
        reach, only as many as there are workers. `found`: the results of the earlier tasks, for the progress display.
        """
        wave_size = max(1, len(tasks) if limit is None else self._workers)
        for start in range(0, len(tasks), wave_size):
            wave = tasks[start : start + wave_size]
            self._filter(wave, tasks, found, limit)
            yield from wave

    def _filter(self, wave: list[FilterTask], tasks: list[FilterTask], found: Found, limit: int | None) -> None:
        """Run the tasks of `wave`; show their results with those of the tasks before them, `found`."""
        watch = _Watch(tasks, wave, found, limit, lambda found: self._write(found, is_done=False), self._progress)
        self._clear_staged()  # a preparation that was killed itself could not
        try:
            self._engine.run(shard_filter.process_shard, wave, shard_filter.is_done, watch.on_done, watch.should_stop)
        except Stopped:
            watch.stopped()
            raise
        finally:
            self._clear_staged()

    def _clear_staged(self) -> None:
        """Delete what workers that were killed while they wrote have left."""
        for staged in self._folder.parts.rglob("*.tmp"):
            staged.unlink(missing_ok=True)

    def _write(self, found: Found, *, is_done: bool) -> dict[str, Any]:
        """Write the report and the samples of the corpus, and return the report. `found`: the results of the source, or
        of the validation source once `_source` is set.
        """
        source, held_out = (found, None) if self._source is None else (self._source, found)
        report = {
            **source.to_dict(),
            "validation": held_out.to_dict() if held_out else None,
            "max_files": self._config.max_files,
            "done": is_done,
        }
        write_json(self._folder.report, report)
        write_json(self._folder.samples, {"samples": [sample.to_dict() for sample in source.samples.to_list()]})
        return report

    def _check(self, source: str, found: Found, num_chosen: int, needed: int) -> None:
        """Raises InputError for too few files: a corpus needs one to train on and one to hold out."""
        if num_chosen >= needed:
            return
        report = found.report
        unread = f" ({report.num_bad:,} could not be read)" if report.num_bad else ""
        rules = "" if self._config.quality.is_none else " and the rules of quality"
        raise InputError(
            f"Source {source!r} keeps {num_chosen} of {report.scanned:,} files{unread} with the keywords "
            f"{', '.join(self._config.keywords)}{rules}, and a corpus needs {needed} or more; "
            "choose another source or other keywords."
        )


class Found:
    """The results of the parts of a source, merged in order."""

    def __init__(self, keywords: tuple[str, ...]) -> None:
        self.report, self.samples, self.removed = Report(keywords), Samples(), Removed()

    def add(self, part: Part | Found) -> None:
        self.report.merge(part.report)
        self.samples.merge(part.samples)
        self.removed.merge(part.removed)

    def add_part(self, task: FilterTask) -> None:
        """Add the part of a task that is done."""
        part = shard_filter.read_part(task)
        assert part is not None, f"{task} is not done"
        self.add(part)

    @property
    def num_good(self) -> int:
        """Number of files that match and that no rule removed."""
        return self.report.kept - self.removed.num_files

    def to_dict(self) -> dict[str, Any]:
        return {**self.report.to_dict(), "removed": self.removed.to_dict()}


class _Watch:
    """Shows the progress and the results of the tasks of one source while an engine runs them."""

    def __init__(
        self,
        tasks: list[FilterTask],
        wave: list[FilterTask],
        found: Found,
        limit: int | None,
        write: Callable[[Found], object],
        progress: Progress,
    ) -> None:
        """`found`: the results of the tasks before `wave`; `limit`: no more kept files are needed; `write` shows
        results.
        """
        self._write = write
        self._progress = progress
        self._limit = limit
        self._weights = {task.target: float(task.shard.num_bytes or 1) for task in tasks}
        self._total = sum(self._weights.values())
        self._done = sum(self._weights[task.target] for task in tasks[: tasks.index(wave[0])])
        self._left = {task.target: task for task in wave}
        self._shown_at = time.monotonic()
        self._found = Found(found.report.keywords)
        self._found.add(found)

    def on_done(self, task: FilterTask) -> None:
        part = shard_filter.read_part(task)
        if part is not None and self._left.pop(task.target, None) is not None:
            self._found.add(part)
            self._done += self._weights[task.target]

    def should_stop(self) -> bool:
        if time.monotonic() - self._shown_at >= SHOW_EVERY_SECONDS:
            self._shown_at = time.monotonic()
            self._show()
        return self._progress.stop_requested

    def stopped(self) -> None:
        """Show the final results, with the parts that were completed after the engine stopped reporting."""
        for task in [*self._left.values()]:
            self.on_done(task)
        self._show()

    def _show(self) -> None:
        found = Found(self._found.report.keywords)
        found.add(self._found)
        done = self._done
        for target, task in self._left.items():
            if part := shard_filter.read_live(task):
                found.add(part)
                done += self._weights[target] * part.progress
        scanned, kept = found.report.scanned, found.num_good
        share = max(done / self._total, min(1.0, kept / self._limit) if self._limit else 0.0)
        files = kept if self._limit is None else min(kept, self._limit)
        self._progress.show(scanned=scanned, kept=kept, files=files, progress=share)
        self._write(found)
