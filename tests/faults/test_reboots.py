"""Kills of the page, of the worker and of every process, at random instants, while a queue of real runs trains.

Only the page revives what was killed. In the end every run has finished and equals an undisturbed one.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from itertools import count
from typing import Any

import psutil
import pytest

from pipeline.core.atomic_io import is_locked, read_json, read_lines
from pipeline.core.paths import Home
from pipeline.core.settings import Settings
from pipeline.jobs import worker
from pipeline.jobs.runs import start_training
from pipeline.jobs.state import RUNNING, in_order, job_state
from tests.faults.shares import shares
from tests.faults.trials import Tally, outcome
from tests.hub.test_wiped_disk import writers
from tests.page import Page
from tests.training.runs import SMALL
from tests.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1_500)]

RUN: dict[str, Any] = {
    **SMALL,
    "max_steps": 150,
    "eval_every_steps": 50,
    "checkpoint_every_steps": 25,
    "device": "cpu",
}
"""Some seconds, beside the start of its process."""
MAX_PAUSE_SECONDS = 6.0
PATIENCE_SECONDS = 500.0
QUEUE_LENGTH = 2
PAGE, WORKER, REBOOT = "the page", "the worker", "every process"


class Machine:
    """One home with a page that resumes interrupted runs. Runs are requested without waking a worker."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.settings = Settings(home=home.path)
        self.page = Page(home.path, PIPELINE_AUTO_RESUME="1")
        self.longest_start = 0.0
        """Seconds until a page that was started again has answered."""
        self._numbers = count()

    def ask(self) -> str:
        run_id = f"run-{next(self._numbers)}"
        return start_training(
            self.settings, corpus="python", preset="tiny", recipe="accelerate", run_id=run_id, changes=RUN, queue=True
        )

    def fill_queue(self) -> None:
        while len(in_order(self.home)) < QUEUE_LENGTH:
            self.ask()

    def state(self, run_id: str) -> str:
        return job_state(self.home.run(run_id)).state

    def worker(self) -> int | None:
        """The pid of the worker at work."""
        pid = (read_json(self.home.worker_status) or {}).get("pid")
        return pid if pid and is_locked(self.home.worker_lock) and psutil.pid_exists(pid) else None

    def is_going_on(self) -> bool:
        """Whether a worker is at work and a job runs."""
        return self.worker() is not None and any(state.state in RUNNING for state in in_order(self.home))

    def kill_worker(self) -> None:
        eventually(self.worker, "a worker", PATIENCE_SECONDS)
        os.kill(self.worker() or 0, signal.SIGKILL)
        eventually(lambda: not is_locked(self.home.worker_lock), "the end of the worker")

    def kill_everything(self) -> None:
        self.page.kill()
        while pids := writers(self.home.path):
            for pid in pids:
                os.kill(pid, signal.SIGKILL)

    def disturb(self, what: str) -> float:
        """Kill `what`, and start the page again if it was killed; returns the seconds until the queue goes on."""
        if what == WORKER:
            self.kill_worker()
            killed_at = time.monotonic()
        else:
            self.page.kill() if what == PAGE else self.kill_everything()
            killed_at = time.monotonic()
            self.page.start()
            self.longest_start = max(self.longest_start, time.monotonic() - killed_at)
        eventually(self.is_going_on, f"a running job after a kill of {what}", PATIENCE_SECONDS)
        return time.monotonic() - killed_at


@pytest.fixture
def machine(home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    monkeypatch.setattr(worker, "wake", lambda settings: None)
    started = Machine(home)
    yield started
    started.kill_everything()


def assert_equal_to(reference: str, machine: Machine, run_id: str) -> None:
    """Assert that no row is there twice or missing, and that the values are those of the reference run."""
    home = machine.home
    steps = [[row["step"] for row in read_lines(home.run(name).metrics)] for name in (run_id, reference)]
    assert steps[0] == steps[1], run_id
    assert outcome(home.run(run_id)) == outcome(home.run(reference)), run_id


@shares("kills", {PAGE: 1, WORKER: 1, REBOOT: 1}, {PAGE: 20, WORKER: 20, REBOOT: 10})
def test_a_queue_goes_on_after_every_kill_and_each_run_ends_as_an_undisturbed_one(
    kills: dict[str, int], machine: Machine, tally: Tally
) -> None:
    numbers = random.Random(1)
    machine.page.start()
    reference = machine.ask()
    eventually(lambda: machine.state(reference) == "finished", "the undisturbed run", PATIENCE_SECONDS)
    order = [what for what, number in kills.items() for _ in range(number)]
    numbers.shuffle(order)
    longest = dict.fromkeys(kills, 0.0)
    for what in order:
        machine.fill_queue()
        eventually(machine.is_going_on, "a running job", PATIENCE_SECONDS)
        time.sleep(numbers.uniform(0, MAX_PAUSE_SECONDS))
        machine.fill_queue()
        longest[what] = max(longest[what], machine.disturb(what))
        tally.counts[f"kills of {what}"] += 1
    runs = [folder.id for folder in machine.home.runs()]
    eventually(lambda: not in_order(machine.home), "the end of the queue", PATIENCE_SECONDS * QUEUE_LENGTH)
    assert {run_id: machine.state(run_id) for run_id in runs} == dict.fromkeys(runs, "finished")
    for run_id in runs:
        assert_equal_to(reference, machine, run_id)
    tally.counts["equal runs"] = len(runs)
    tally.counts["of these resumed"] = sum(
        bool((read_json(machine.home.run(run_id).request) or {}).get("resume")) for run_id in runs
    )
    figures = {f"longest wait in seconds after a kill of {what}": seconds for what, seconds in longest.items()}
    figures["of these the start of the page"] = machine.longest_start
    for name, seconds in figures.items():
        tally.counts[name] = round(seconds, 1)  # type: ignore[assignment]


def test_a_run_that_is_killed_before_its_first_status_goes_on_after_a_reboot(machine: Machine) -> None:
    for _ in range(5):  # on a loaded machine the kill may come after its first status
        machine.page.start()
        run_id = machine.ask()
        eventually(machine.home.run(run_id).process.exists, "its process", PATIENCE_SECONDS)
        machine.kill_everything()
        if not machine.home.run(run_id).status.exists():
            break
    else:
        pytest.fail("no run was killed before its first status")
    machine.page.start()
    eventually(lambda: machine.state(run_id) == "finished", "its end", PATIENCE_SECONDS)


def test_control_without_a_page_nothing_revives_a_killed_worker(machine: Machine) -> None:
    machine.page.start()
    first, second = machine.ask(), machine.ask()
    eventually(lambda: machine.state(first) == "running", "the first run", PATIENCE_SECONDS)
    machine.page.kill()
    machine.kill_worker()
    eventually(lambda: machine.state(first) == "finished", "the run that outlives its worker", PATIENCE_SECONDS)
    time.sleep(4 * worker.WATCH_SECONDS)
    assert (machine.state(second), machine.worker()) == ("queued", None)
    machine.page.start()
    eventually(lambda: machine.state(second) == "finished", "the second run", PATIENCE_SECONDS)
