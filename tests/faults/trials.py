"""Building blocks of a trial: a run in its own process, a fault during it, and the assertions after it has ended.

The processes are forked from one that has torch loaded. They are real processes, and the signals that kill them are
real.
"""

from __future__ import annotations

import multiprocessing
import time
from collections import Counter
from dataclasses import dataclass, field
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import Any

from pipeline.artifacts.checkpoint import newest_valid
from pipeline.core.atomic_io import read_lines
from pipeline.core.paths import Home, RunFolder
from tests.faults import child
from tests.training.runs import new_run, status, weights

FORKS: BaseContext = multiprocessing.get_context("forkserver")
"""Forks the processes from a server, not from the tests' own process, which may have threads."""
FORKS.set_forkserver_preload([child.__name__])
PATIENCE_SECONDS = 400
CLOCK = ("seconds", "tokens_per_second", "time")
"""Columns of metrics.jsonl that depend on the clock."""
INTERVAL = 6
"""Steps from one checkpoint to the next."""
RUN: dict[str, Any] = {
    "max_steps": 24,
    "warmup_steps": 1,
    "eval_every_steps": 8,
    "eval_windows": 4,
    "checkpoint_every_steps": INTERVAL,
}
"""Four checkpoints, four evaluations, dropout on; one to three seconds."""


@dataclass
class Tally:
    """Counts of the trials' results, printed for people when all tests are over."""

    title: str
    counts: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        return f"{self.title}: " + ", ".join(f"{name} {count:,}" for name, count in self.counts.items())


@dataclass(frozen=True)
class Outcome:
    """Everything that must be equal for two runs to be bit-identical."""

    rows: dict[int, dict[str, Any]]
    """By step, every value of metrics.jsonl that does not depend on the clock."""
    samples: dict[int, str]
    """By step, the text that the model generated."""
    weights: str
    """SHA-256 of the weights at the last step."""


@dataclass(frozen=True)
class Undisturbed:
    """A reference run that others are compared with."""

    folder: RunFolder
    """Read only."""
    outcome: Outcome
    seconds: float


def outcome(folder: RunFolder) -> Outcome:
    """The outcome of a finished run. Raises AssertionError for any other run."""
    now = status(folder)
    assert now.get("state") == "finished", f"{now.get('state')}: {now.get('error')}\n{folder.log.read_text()}"
    return Outcome(
        rows=measured(folder),
        samples={row["step"]: row["text"] for row in read_lines(folder.samples)},
        weights=weights(folder, now["step"]),
    )


def measured(folder: RunFolder) -> dict[int, dict[str, Any]]:
    """The rows of metrics.jsonl by step. If a stop delayed a step's evaluation, its two rows are merged."""
    found: dict[int, dict[str, Any]] = {}
    for row in read_lines(folder.metrics):
        merged = found.setdefault(row["step"], {})
        merged |= {name: value for name, value in row.items() if name not in CLOCK}
    return found


def assert_same(folder: RunFolder, undisturbed: Outcome) -> None:
    """Assert that the run finished with the same metrics, samples and weights."""
    found = outcome(folder)
    assert found.rows == undisturbed.rows
    assert found.samples == undisturbed.samples
    assert found.weights == undisturbed.weights


def assert_nothing_lost(folder: RunFolder, *, interval: int = INTERVAL, at_least: int = 0) -> int:
    """Assert that the newest checkpoint is intact and at most `interval` steps behind the last logged step; return its
    step.

    `at_least`: the step of the newest checkpoint before this trial.
    """
    newest = newest_valid(folder)
    assert not newest.damaged, newest.damaged
    rows = read_lines(folder.metrics)
    reached = rows[-1]["step"] if rows else 0
    assert reached - newest.step <= interval, f"at step {reached} the newest checkpoint is that of {newest.step}"
    assert newest.step >= at_least
    return newest.step


def is_staging(folder: RunFolder) -> bool:
    """Whether a save was interrupted."""
    return any(folder.checkpoints.glob(".staging-*"))


def hidden(folder: RunFolder) -> list[str]:
    """Names of hidden leftovers: staged, removed or quarantined."""
    return sorted(path.name for path in folder.path.rglob(".*"))


def start(folder: RunFolder, plant: child.Plant | None = None) -> BaseProcess:
    process: BaseProcess = FORKS.Process(target=child.train, args=(folder, plant), daemon=True)
    process.start()
    return process


def wait(process: BaseProcess, seconds: float = PATIENCE_SECONDS) -> int:
    """The exit status, negative for a signal. Raises AssertionError if the process has not ended within `seconds`."""
    process.join(seconds)
    if process.exitcode is None:
        process.kill()
        process.join()
        raise AssertionError(f"it was still there after {seconds:g} seconds")
    return process.exitcode


def finish(folder: RunFolder, plant: child.Plant | None = None) -> int:
    """Train to the end; returns the exit status."""
    return wait(start(folder, plant))


def wait_for(process: BaseProcess, folder: RunFolder, state: str) -> None:
    """Wait until the status shows `state`, or the process has ended, or PATIENCE_SECONDS have passed."""
    end = time.monotonic() + PATIENCE_SECONDS
    while status(folder).get("state") != state and process.is_alive() and time.monotonic() < end:
        time.sleep(0.002)


def undisturbed_run(home: Home, run_id: str, **changes: Any) -> Undisturbed:
    folder = new_run(home, run_id, **{**RUN, **changes})
    started = time.monotonic()
    assert finish(folder) == 0, folder.log.read_text()
    return Undisturbed(folder, outcome(folder), time.monotonic() - started)
