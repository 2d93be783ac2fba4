"""SIGTERM at random instants: within 10 seconds the run is saved and has exited, and it resumes bit-identically."""

from __future__ import annotations

import random
import time

import pytest

from pipeline.artifacts.checkpoint import newest_valid
from pipeline.core.atomic_io import read_lines
from pipeline.core.paths import Home, RunFolder
from tests.faults.bugs import does_not_hear_signals
from tests.faults.child import Plant
from tests.faults.conftest import References
from tests.faults.shares import shares
from tests.faults.trials import RUN, Tally, Undisturbed, assert_same, finish, start, wait, wait_for
from tests.training.runs import ask_to_resume, new_run, status, write_request

pytestmark = pytest.mark.slow


def last_step(folder: RunFolder) -> int:
    rows = read_lines(folder.metrics)
    return rows[-1]["step"] if rows else 0


def stop_and_resume(
    folder: RunFolder, undisturbed: Undisturbed, after: float, tally: Tally, plant: Plant | None = None
) -> None:
    """Stop the run `after` seconds of running; then resume it and let it finish."""
    process = start(folder, plant)
    wait_for(process, folder, "running")
    time.sleep(after)
    process.terminate()
    logged = last_step(folder)  # the next step may be in progress, and may be finished or dropped
    assert wait(process) == 0, folder.log.read_text()
    now = status(folder)
    assert now["step"] <= logged + 1, f"asked to stop after step {logged}, it ended at step {now['step']}"
    tally.counts[f"{now['state']}"] += 1
    tally.counts["before the first step"] += now["step"] == 0
    if now["state"] != "finished":
        assert (now["state"], now["error"]) == ("stopped", None)
        assert newest_valid(folder).step == now["step"] == last_step(folder)
        ask_to_resume(folder)
        assert finish(folder, plant) == 0, folder.log.read_text()
    assert_same(folder, undisturbed.outcome)
    tally.counts["bit-identical runs"] += 1


@shares("num_stops", 3, 40)
def test_a_run_stopped_at_any_instant_resumes_bit_identically(
    home: Home, undisturbed: References, tally: Tally, num_stops: int
) -> None:
    numbers, expected = random.Random(0), undisturbed()
    for number in range(num_stops):
        folder = new_run(home, f"run-{number}", **RUN)
        stop_and_resume(folder, expected, numbers.uniform(0, expected.seconds), tally)


@shares("seconds", (3.0,), (0.0, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0))
def test_the_unchanged_preset_tiny_stops_in_time(home: Home, tally: Tally, seconds: tuple[float, ...]) -> None:
    """4.3 million parameters minus what a small vocabulary saves, 32 windows a step: one thread takes seconds."""
    for number, after in enumerate(seconds):
        folder = home.run(f"tiny-{number}")
        often = {"checkpoint_every_steps": 2, "eval_every_steps": 1_000, "eval_windows": 8, "precision": "fp32"}
        write_request(folder, changes={**often, "max_steps": 1_000}, resume=False)
        process = start(folder)
        wait_for(process, folder, "running")
        time.sleep(after)
        process.terminate()
        logged = last_step(folder)
        assert wait(process) == 0, folder.log.read_text()
        now = status(folder)
        assert now["step"] <= logged + 1, f"asked to stop after step {logged}, it ended at step {now['step']}"
        assert (now["state"], now["error"]) == ("stopped", None)
        assert newest_valid(folder).step == now["step"]
        tally.counts[f"stopped at step {now['step']}"] += 1


def test_a_run_that_ignores_signals_is_detected(home: Home, undisturbed: References) -> None:
    """Negative control."""
    with pytest.raises(AssertionError, match="asked to stop after step"):
        stop_and_resume(new_run(home, **RUN), undisturbed(), 0.1, Tally("control"), does_not_hear_signals)
