"""Many starts at one instant, from several threads of several processes: none is lost, none counts twice."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.core.atomic_io import read_json, tail, write_json
from pipeline.core.paths import ROOT, Home
from pipeline.jobs.state import in_order, job_state
from pipeline.jobs.views import run_views
from tests.faults.askers import Answer, Ask, Askers, Plant, has_no_request_lock, pauses_before_writing
from tests.faults.shares import shares
from tests.faults.trials import Tally
from tests.jobs.conftest import WORKER
from tests.waiting import eventually

pytestmark = pytest.mark.slow

NUM_WORKERS = 4
FEW, MANY = (2, 4, 1), (5, 10, 10)
"""Processes, threads of each, rounds."""


def new_home(folder: Path) -> Home:
    """A home with one ready corpus and no run."""
    home = Home(folder)
    write_json(home.corpus("ready").manifest, {"vocab_size": 4096, "tokens_train": 10**6})
    return home


def winners(answers: list[Answer]) -> list[str]:
    return [answer.run for answer in answers if answer.run is not None]


def assert_one_wins_an_id(askers: Askers, home: Home, num_starts: int) -> None:
    answers = askers.ask(home.path, [Ask(run_id="same", queue=True)] * num_starts)
    assert winners(answers) == ["same"]
    refused = [answer for answer in answers if answer.run is None]
    sentence = "Run same exists already; choose another id, or go on with it by `resume same`."
    assert {(answer.error_type, answer.error) for answer in refused} == {("InputError", sentence)}
    assert [view.run for view in run_views(home)] == ["same"]


def assert_all_are_queued_once(askers: Askers, home: Home, num_starts: int) -> None:
    names = [f"run-{number}" for number in range(num_starts)]
    answers = askers.ask(home.path, [Ask(run_id=name, queue=True) for name in names])
    assert winners(answers) == names, [answer.error for answer in answers if answer.run is None]
    assert sorted(state.id for state in in_order(home)) == sorted(names)
    views = run_views(home)
    assert sorted(view.run for view in views) == sorted(names)
    assert sorted(view.place or 0 for view in views) == [*range(1, num_starts + 1)]
    ids = {(read_json(home.run(name).request) or {})["request_id"] for name in names}
    assert len(ids) == num_starts


def assert_one_is_accepted_without_a_queue(askers: Askers, home: Home, num_starts: int) -> None:
    answers = askers.ask(home.path, [Ask(run_id=f"run-{number}") for number in range(num_starts)])
    [winner] = winners(answers)
    refused = [answer for answer in answers if answer.run is None]
    sentence = f"Run {winner} waits in the queue; stop it with `python -m pipeline stop {winner}`, or add --queue."
    assert {(answer.error_type, answer.error) for answer in refused} == {("BusyError", sentence)}
    assert [view.run for view in run_views(home)] == [winner]


def assert_one_request_makes_one_run(askers: Askers, home: Home, num_starts: int) -> None:
    answers = askers.ask(home.path, [Ask(request_id="press-1", queue=True)] * num_starts)
    assert len(winners(answers)) == num_starts, [answer.error for answer in answers if answer.run is None]
    [run] = set(winners(answers))
    assert [path.name for path in home.run(run).path.parent.iterdir()] == [run]


TRIALS = {
    "one id": assert_one_wins_an_id,
    "many ids": assert_all_are_queued_once,
    "without a queue": assert_one_is_accepted_without_a_queue,
    "one request": assert_one_request_makes_one_run,
}


@pytest.mark.parametrize("trial", TRIALS)
@shares("size", FEW, MANY)
def test_starts_at_one_instant(trial: str, size: tuple[int, int, int], tmp_path: Path, tally: Tally) -> None:
    num_processes, num_threads, num_rounds = size
    with Askers(num_processes, num_threads) as askers:
        for number in range(num_rounds):
            TRIALS[trial](askers, new_home(tmp_path / f"home-{number}"), num_processes * num_threads)
            tally.counts["rounds"] += 1
            tally.counts["starts"] += num_processes * num_threads


@pytest.mark.parametrize("trial", ["one id", "without a queue", "one request"])
@pytest.mark.parametrize("plant", [pauses_before_writing, has_no_request_lock])
def test_control_without_the_request_lock_starts_count_twice(trial: str, plant: Plant, tmp_path: Path) -> None:
    """Negative control: both plants give the calls the time to collide; only the lock keeps them apart."""
    with Askers(2, 2, plant) as askers:
        if plant is pauses_before_writing:
            TRIALS[trial](askers, new_home(tmp_path / "home"), 4)
            return
        with pytest.raises((AssertionError, ValueError)):
            TRIALS[trial](askers, new_home(tmp_path / "home"), 4)


class Workers:
    """Real workers that start tests.jobs.sleeper instead of the trainer."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self, count: int) -> None:
        command = [sys.executable, "-c", WORKER, str(self._home.path), "60"]
        self._started += [subprocess.Popen(command, cwd=ROOT) for _ in range(count)]

    def exit_codes(self) -> list[int | None]:
        return [process.poll() for process in self._started]

    def close(self) -> None:
        for process in self._started:
            process.kill()
            process.wait()


@pytest.fixture
def queue_home(tmp_path: Path) -> Home:
    return new_home(tmp_path / "queue")


@pytest.fixture
def workers(queue_home: Home) -> Iterator[Workers]:
    started = Workers(queue_home)
    yield started
    started.close()


@shares("size", FEW, MANY)
def test_workers_that_start_at_one_instant_run_each_queued_job_once(
    size: tuple[int, int, int], queue_home: Home, workers: Workers, tally: Tally
) -> None:
    num_processes, num_threads, _ = size
    num_starts = num_processes * num_threads
    with Askers(num_processes, num_threads) as askers:
        assert_all_are_queued_once(askers, queue_home, num_starts)
    workers.start(NUM_WORKERS)
    eventually(lambda: not in_order(queue_home), "the end of the queue", seconds=20.0 * num_starts)
    eventually(lambda: set(workers.exit_codes()) == {0}, "the end of the workers")
    for folder in queue_home.runs():
        assert job_state(folder).state == "finished"
        assert tail(folder.log) == ["counted 1 and sees no secret"], folder.id
        tally.counts["jobs that ran once"] += 1
    assert tally.counts["jobs that ran once"] == num_starts
