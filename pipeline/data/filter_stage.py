"""The first stage of a preparation: every shard of the source filtered, by whoever works, and the files chosen from them.

The parts lie in a folder named by what decides them, so that those that are complete are never made again; they are
removed when the files of the corpus are written.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Iterator
from typing import Any

from pipeline.config import DataConfig, Workforce
from pipeline.data import filtering
from pipeline.data.choosing import Chooser
from pipeline.data.engines import open_engine
from pipeline.data.filtering import FilterTask
from pipeline.data.progress import Progress, Stopped
from pipeline.data.report import Report
from pipeline.data.samples import Samples
from pipeline.data.sources import open_source
from pipeline.errors import InputError
from pipeline.files import write_json
from pipeline.folders import CorpusFolder

SHOW_EVERY_SECONDS = 1.0


class FilterStage:
    def __init__(self, folder: CorpusFolder, config: DataConfig, workforce: Workforce, progress: Progress) -> None:
        self._folder = folder
        self._config = config
        self._engine = open_engine(workforce.engine, workforce.workers)
        self._workers = workforce.workers
        self._parts = workforce.parts or str(folder.parts)
        self._progress = progress

    def scan(self) -> dict[str, Any]:
        """Filter the source and write the report and samples of it; the parts stay, for `run` to choose from."""
        config = self._config
        tasks = self._tasks(config.source, config.max_files)
        watch = _Watch(self._folder, tasks, self._progress)
        kept = 0
        for wave in self._waves(tasks, config.max_files):
            self._filter(wave, watch)
            kept = watch.kept
            if config.max_files is not None and kept >= config.max_files:
                break
        return watch.show(is_done=True)

    def run(self) -> tuple[dict[str, Any], list[str]]:
        """What the source gives, and the names of the files written. Raises InputError when it gives no corpus."""
        config, other = self._config, self._config.validation_source
        chooser = Chooser(self._folder.path, config.keywords, config.validation_share)
        report = self._choose(chooser, config.source, config.max_files, "train" if other else None)
        if other:
            self._choose(chooser, other, config.max_validation_files, "validation")
        chooser.close()
        _write(self._folder, report, chooser.samples, is_done=True)
        found = report.to_dict()
        return {
            **{name: found[name] for name in ("scanned", "kept")},
            "files": chooser.num_chosen,
            **{f"files_{split}": writer.num_rows for split, writer in chooser.writers.items()},
            **{f"{split}_bytes": writer.num_bytes for split, writer in chooser.writers.items()},
        }, [self._folder.report.name, self._folder.samples.name, *chooser.names]

    def clean_up(self) -> None:
        """Remove the parts: the files of the corpus are written."""
        shutil.rmtree(self._folder.parts, ignore_errors=True)

    def _choose(self, chooser: Chooser, source: str, most: int | None, split: str | None) -> Report:
        """Filter `source` and take files from it, at most `most`. Raises InputError when there are too few."""
        tasks, report, before = self._tasks(source, most), Report(self._config.keywords), chooser.num_chosen
        watch = _Watch(self._folder, tasks, self._progress)
        room = most
        for wave in self._waves(tasks, most):
            self._filter(wave, watch)
            for task in wave:
                if room == 0:
                    break
                taken = chooser.add(task, most=room, split=split)
                report.merge(taken.report)
                room = None if most is None else most - (chooser.num_chosen - before)
                self._progress.check()
            if room == 0:
                break
        _check_kept(source, self._config, report, chooser.num_chosen - before, 1 if split else 2)
        return report

    def _tasks(self, source: str, max_kept: int | None) -> list[FilterTask]:
        config, shards = self._config, open_source(source).shards()
        decides = [source, config.keywords, config.match, max_kept, [(s.name, s.num_bytes) for s in shards]]
        key = hashlib.blake2b(json.dumps(decides).encode(), digest_size=8).hexdigest()
        return [
            FilterTask(
                shard=shard,
                target=f"{self._parts}/{key}/{number:05}",
                keywords=config.keywords,
                match=config.match,
                max_kept=max_kept,
            )
            for number, shard in enumerate(shards)
        ]

    def _waves(self, tasks: list[FilterTask], most: int | None) -> Iterator[list[FilterTask]]:
        """All at once; but no more than can be worked on together when a few of them may be enough."""
        together = max(1, len(tasks) if most is None else self._workers)
        for start in range(0, len(tasks), together):
            yield tasks[start : start + together]

    def _filter(self, tasks: list[FilterTask], watch: _Watch) -> None:
        try:
            self._engine.run(filtering.process_shard, tasks, filtering.is_done, watch.on_done, watch.should_stop)
        except Stopped:
            watch.stopped()
            raise
        finally:  # what a worker that was ended had begun to write
            for staged in self._folder.parts.glob("*/.*.tmp"):
                staged.unlink(missing_ok=True)


class _Watch:
    """Shows how far the tasks of one source are, and what was found, while others work on them."""

    def __init__(self, folder: CorpusFolder, tasks: list[FilterTask], progress: Progress) -> None:
        self._folder = folder
        self._progress = progress
        self._weights = {task.target: float(task.shard.num_bytes or 1) for task in tasks}
        self._left = {task.target: task for task in tasks}
        self._shown_at = time.monotonic()
        self._keywords = tasks[0].keywords if tasks else ()
        self._report, self._samples = Report(self._keywords), Samples()
        """Of the parts that are complete."""

    @property
    def kept(self) -> int:
        return self._report.kept

    def on_done(self, task: FilterTask) -> None:
        part = filtering.read_part(task)
        if part is not None and self._left.pop(task.target, None) is not None:
            self._report.merge(part.report)
            self._samples.merge(part.samples)

    def stopped(self) -> None:
        """Show the last of it, with the parts that became complete while nobody listened."""
        for task in [*self._left.values()]:
            self.on_done(task)
        self.show(is_done=False)

    def should_stop(self) -> bool:
        if time.monotonic() - self._shown_at >= SHOW_EVERY_SECONDS:
            self._shown_at = time.monotonic()
            self.show(is_done=False)
        return self._progress.stop_requested

    def show(self, *, is_done: bool) -> dict[str, Any]:
        report, samples = Report(self._keywords), Samples()
        report.merge(self._report)
        samples.merge(self._samples)
        total = sum(self._weights.values())
        share = total - sum(self._weights[target] for target in self._left)
        for target, task in self._left.items():
            if part := filtering.read_live(task):
                report.merge(part.report)
                samples.merge(part.samples)
                share += self._weights[target] * part.progress
        self._progress.show(
            scanned=report.scanned, kept=report.kept, files=report.kept, progress=share / total if total else None
        )
        return _write(self._folder, report, samples, is_done=is_done)


def _write(folder: CorpusFolder, report: Report, samples: Samples, *, is_done: bool) -> dict[str, Any]:
    found = {**report.to_dict(), "done": is_done}
    write_json(folder.report, found)
    write_json(folder.samples, {"samples": [sample.to_dict() for sample in samples.to_list()]})
    return found


def _check_kept(source: str, config: DataConfig, report: Report, num_chosen: int, needed: int) -> None:
    """A corpus needs a file to train on and one to hold out."""
    if num_chosen >= needed:
        return
    unread = f" ({report.num_bad:,} could not be read)" if report.num_bad else ""
    raise InputError(
        f"Source {source!r} keeps {num_chosen} of {report.scanned:,} files{unread} with the keywords "
        f"{', '.join(config.keywords)}, and a corpus needs {needed} or more; choose another source or other keywords."
    )
