"""A command's terminal: prints one JSON document or lines for people, and handles Ctrl-C."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from pipeline.core.errors import InputError, PipelineError
from pipeline.jobs.run_pushes import PushFault
from pipeline.jobs.view_types import CorpusView, DryRunView, EvaluationView, PushView, RunView


class Console:
    """Prints progress for people or, with `as_json`, only one JSON document at the end."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._last: object = None

    def line(self, text: str = "") -> None:
        """A line for people."""
        if not self.as_json:
            print(text, flush=True)

    def progress(self, text: str, key: object = None) -> None:
        """A line for people, unless `key` (default: the text) equals that of the previous call."""
        key = text if key is None else key
        if key != self._last:
            self._last = key
            self.line(text)

    def table(self, head: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> None:
        """Rows under a header row; each column is as wide as its widest cell."""
        lines = [head, *[tuple("-" if cell is None else str(cell) for cell in row) for row in rows]]
        widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
        for cells in lines:
            self.line("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip())

    def document(self, value: Any) -> None:
        """The command's one JSON document."""
        if self.as_json:
            json.dump(value, sys.stdout, ensure_ascii=False, indent=1, allow_nan=False)
            sys.stdout.write("\n")

    def show_run(self, view: RunView) -> None:
        """A line for each new state, logged row, evaluation or queue position; not for every step."""
        doing = f"({view.message})" if view.state in ("queued", "running") and view.message else ""
        where = f"step {view.step:,}" + (f" of {view.max_steps:,}" if view.max_steps else "")
        figures = [
            f"loss {view.train_loss:.3f}" if view.train_loss is not None else "",
            f"validation {view.eval_loss:.3f}" if view.eval_loss is not None else "",
            f"{view.tokens_per_second:,.0f} tokens/s" if view.tokens_per_second else "",
            f"{duration(view.eta_seconds)} left" if view.eta_seconds else "",
            f"place {view.place} in the queue" if view.place else "",
        ]
        is_compiling = doing.startswith("(compiling")  # compiling takes a minute; evaluating and saving do not
        restoring = doing if view.state == "queued" else ""
        key = (view.state, is_compiling, restoring, view.train_loss, view.eval_loss, view.place)
        self.progress("  ".join(filter(None, [view.run, view.state, doing, where, *figures])), key)

    def show_corpus(self, view: CorpusView) -> None:
        """A line for each new state, stage or tenth of a stage."""
        is_running = view.state == "running"
        figures = [
            view.stage or "" if is_running else "",
            f"{view.files:,} files kept" if view.files else "",
            f"{view.progress:.0%}" if view.progress is not None and is_running else "",
            f"place {view.place} in the queue" if view.place else "",
        ]
        key = (view.state, view.stage, int(10 * (view.progress or 0)), view.place)
        self.progress("  ".join(filter(None, [view.corpus, view.state, *figures])), key)

    def show_push(self, view: PushView) -> None:
        """A line for each new message."""
        if view.state == "running" and view.message:
            self.progress(view.message)

    def show_dry_run(self, view: DryRunView) -> None:
        """A line for each new state or queue position."""
        position = f"place {view.place} in the queue" if view.place else ""
        self.progress("  ".join(filter(None, ["dry run", view.state, position])))

    def show_evaluation(self, view: EvaluationView) -> None:
        """A line for each new state, queue position, revision or tenth of its tasks or programs."""
        words = {"write": "tasks completed", "run": "programs run", "read": "reading held-out files"}
        doing = words.get(view.stage or "", "") if view.state == "running" else ""
        if doing and view.stage != "read":
            doing = f"{view.done or 0:,} of {view.total or 0:,} {doing}"
        which = f"revision {view.revision} ({view.number} of {view.count})" if view.revision and doing else ""
        position = f"place {view.place} in the queue" if view.place else ""
        tenth = 10 * (view.done or 0) // (view.total or 1)
        self.progress(
            "  ".join(filter(None, ["evaluation", view.state, which, doing, position])),
            (view.state, view.revision, view.stage, tenth, view.place),
        )

    @contextmanager
    def stop_on_signal(self, stop: Callable[[], object]) -> Iterator[None]:
        """The first Ctrl-C (or SIGTERM) calls `stop`, so that the job saves; the second raises PipelineError."""
        stop_requested = False

        def on_signal(number: int, frame: FrameType | None) -> None:
            nonlocal stop_requested
            if stop_requested:
                raise PipelineError("Left; the job goes on stopping by itself.")
            stop_requested = True
            self.line("Stopping: the job saves first. Press again to leave it to itself.")
            try:
                stop()
            except InputError as error:  # the job has just ended by itself
                self.line(str(error))

        before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def push_fault(fault: PushFault, now: float | None = None) -> str:
    """Why a checkpoint is not in its repo, as a sentence."""
    if fault.next_at is None or fault.since is None:
        return f"The checkpoint of step {fault.step} is not in {fault.repo}: {fault.error}"
    now = time.time() if now is None else now
    attempts = "1 attempt" if fault.attempts == 1 else f"{fault.attempts} attempts"
    return (
        f"The checkpoint of step {fault.step} is not in {fault.repo} yet; {attempts} in "
        f"{duration(now - fault.since)}, the next in {duration(max(0.0, fault.next_at - now))}: {fault.error}"
    )


def duration(seconds: float) -> str:
    """A duration as text: 42 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5_400 else f"{seconds / 3_600:.1f} h"
