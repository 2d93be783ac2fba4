"""SIGKILL at random instants: only the steps since the last checkpoint are lost; the resumed run is bit-identical."""

from __future__ import annotations

import random
import signal
import time
from typing import Any

import pytest

from pipeline.core.paths import Home, RunFolder
from tests.faults.bugs import forgets_the_random_state
from tests.faults.child import Plant, saves_beside_training
from tests.faults.conftest import References
from tests.faults.shares import shares
from tests.faults.trials import (
    INTERVAL,
    RUN,
    Tally,
    Undisturbed,
    assert_nothing_lost,
    assert_same,
    finish,
    is_staging,
    start,
    wait,
)
from tests.training.runs import ask_to_resume, new_run, status

pytestmark = pytest.mark.slow
MAX_KILLS_OF_A_RUN = 4
BACKGROUND = "background"
VARIANTS: dict[str, dict[str, Any]] = {
    "accelerate": {},
    "trainer": {"recipe": "trainer"},
    "muon": {"optimizer": "muon", "schedule": "flat"},
    BACKGROUND: {},
}


def kill_and_resume(
    folder: RunFolder, undisturbed: Undisturbed, numbers: random.Random, tally: Tally, plant: Plant | None = None
) -> None:
    """Kill a run and its resumed runs up to four times, each at a random instant; then let it finish."""
    saved = 0
    # A checkpoint saved in the background exists some steps later, at the latest when the next one is due.
    max_lost = 2 * INTERVAL if plant is saves_beside_training else INTERVAL
    for _ in range(MAX_KILLS_OF_A_RUN):
        process = start(folder, plant)
        time.sleep(numbers.uniform(0, undisturbed.seconds))
        process.kill()
        exit_status = wait(process)
        assert exit_status in (0, -signal.SIGKILL), folder.log.read_text()
        if exit_status == 0:
            tally.counts["finished before the kill"] += 1
            break
        tally.counts["kills"] += 1
        tally.counts["of these inside a save"] += is_staging(folder)
        tally.counts["before the first row"] += not folder.metrics.exists()
        saved = assert_nothing_lost(folder, interval=max_lost, at_least=saved)
        tally.counts["with a checkpoint to resume from"] += saved > 0
        if status(folder).get("state") == "finished":
            tally.counts["between the last status and the exit"] += 1
            break
        ask_to_resume(folder)
    else:
        assert finish(folder, plant) == 0, folder.log.read_text()
    assert_same(folder, undisturbed.outcome)
    tally.counts["bit-identical runs"] += 1


@pytest.mark.parametrize("variant", VARIANTS)
@shares("num_kills", 2, {"accelerate": 120, "trainer": 30, "muon": 60, BACKGROUND: 60})
def test_a_run_killed_at_any_instant_resumes_bit_identically(
    home: Home, undisturbed: References, tally: Tally, num_kills: Any, variant: str
) -> None:
    target = num_kills if isinstance(num_kills, int) else num_kills[variant]
    numbers, expected = random.Random(variant), undisturbed(**VARIANTS[variant])
    while tally.counts["kills"] < target:
        folder = new_run(home, f"run-{tally.counts['bit-identical runs']}", **{**RUN, **VARIANTS[variant]})
        kill_and_resume(folder, expected, numbers, tally, saves_beside_training if variant == BACKGROUND else None)


def test_a_run_that_forgets_its_random_state_is_detected(home: Home, undisturbed: References) -> None:
    """Negative control. The kill comes late enough for a checkpoint to resume from."""
    expected, folder = undisturbed(), new_run(home, **RUN)
    process = start(folder, forgets_the_random_state)
    while not folder.checkpoint(12).exists():
        time.sleep(0.002)
    process.kill()
    assert wait(process) == -signal.SIGKILL
    ask_to_resume(folder)
    assert finish(folder, forgets_the_random_state) == 0
    with pytest.raises(AssertionError):
        assert_same(folder, expected.outcome)
