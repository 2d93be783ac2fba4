"""The local engine with real processes and real kills, with the same faults as in the tests of the cluster."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.core.atomic_io import write_text
from pipeline.core.environment import child_environment
from pipeline.core.errors import InputError, PipelineError
from pipeline.core.paths import ROOT
from pipeline.data.execution import Executor, ShouldStop, open_executor
from pipeline.data.progress import Stopped
from tests.data.execution import toys
from tests.data.execution.toys import Toy, is_done, outputs, run, wait_until_gone
from tests.waiting import is_gone

StartCaller = Callable[[str], tuple["subprocess.Popen[bytes]", list[Toy]]]


@pytest.fixture
def two() -> Executor:
    return open_executor("local", 2)


# ---- in this process ----
def test_one_worker_is_this_process(tmp_path: Path) -> None:
    toys.check_it_runs_what_is_missing(open_executor("local", 1), tmp_path)
    assert toys.toys(tmp_path)[0].pids == [os.getpid()]


def test_a_stop_in_this_process_is_seen_between_tasks_and_can_be_seen_inside_one(tmp_path: Path) -> None:
    polls = []

    def stop_at_the_third_poll() -> bool:
        polls.append(1)
        return len(polls) >= 3

    def polling(toy: Toy, should_stop: ShouldStop) -> None:
        if toy.number == 1 and should_stop():
            raise Stopped
        write_text(toy.output, "done\n")

    with pytest.raises(Stopped):
        open_executor("local", 1).run(polling, toys.toys(tmp_path), is_done, lambda toy: None, stop_at_the_third_poll)
    assert list(outputs(tmp_path)) == ["0.txt"], "the third poll is the one inside number 1"
    with pytest.raises(Stopped):
        open_executor("local", 1).run(toys.write, toys.toys(tmp_path), is_done, lambda toy: None, lambda: True)
    assert list(outputs(tmp_path)) == ["0.txt"]


def test_a_task_without_its_output_is_not_taken_for_done(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"number=0\) was done, and its output is not there"):
        run(open_executor("local", 1), toys.forget, toys.toys(tmp_path))


def test_an_engine_that_does_not_exist_is_refused() -> None:
    with pytest.raises(InputError, match="engine is 'slurm'; set it to one of local, ray"):
        open_executor("slurm", 1)
    with pytest.raises(InputError, match="workers is 0"):
        open_executor("local", 0)


def test_importing_an_engine_imports_neither_ray_nor_polars() -> None:
    script = "import sys, pipeline.data.execution.local; print(sorted({'ray', 'polars', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# ---- in worker processes ----
@pytest.mark.slow
def test_two_workers_run_what_is_missing(two: Executor, tmp_path: Path) -> None:
    toys.check_it_runs_what_is_missing(two, tmp_path)
    pids = {pid for toy in toys.toys(tmp_path) for pid in toy.pids}
    assert len(pids) <= 2 and os.getpid() not in pids


@pytest.mark.slow
def test_more_workers_than_tasks_and_no_task_at_all(tmp_path: Path) -> None:
    assert run(open_executor("local", 3), toys.write, toys.toys(tmp_path, 1)) == [0]
    assert run(open_executor("local", 3), toys.write, []) == []


@pytest.mark.slow
def test_a_killed_worker_costs_one_task(two: Executor, tmp_path: Path) -> None:
    toys.check_a_killed_worker_costs_one_task(two, tmp_path)


@pytest.mark.slow
def test_a_poisonous_task_is_named_after_three_tries(two: Executor, tmp_path: Path) -> None:
    toys.check_a_poisonous_task_is_named(two, tmp_path)


@pytest.mark.slow
def test_an_input_error_arrives_as_it_was_raised_and_ends_the_others(two: Executor, tmp_path: Path) -> None:
    toys.check_an_error_arrives_as_it_was_raised(two, tmp_path)
    wait_until_gone(toys.toys(tmp_path)[0].pids)


@pytest.mark.slow
def test_an_error_that_cannot_be_pickled_arrives_as_text(two: Executor, tmp_path: Path) -> None:
    with pytest.raises(TypeError):  # the control: it really cannot
        pickle.loads(pickle.dumps(toys.StubbornError(1, 2)))
    with pytest.raises(RuntimeError, match="StubbornError: 1 and 2"):
        run(two, toys.fail, toys.toys(tmp_path))


@pytest.mark.slow
def test_a_task_that_takes_too_much_memory_fails_and_not_the_machine(two: Executor, tmp_path: Path) -> None:
    with toys.nothing_left_behind(), pytest.raises(MemoryError):
        run(two, toys.take_too_much_memory, toys.toys(tmp_path, 2))
    run(
        open_executor("local", 1), toys.take_too_much_memory_and_write, toys.toys(tmp_path, 1)
    )  # control: no limit here


@pytest.mark.slow
def test_a_stop_ends_workers_in_mid_task(two: Executor, tmp_path: Path) -> None:
    toys.check_it_stops(two, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_workers_leave_when_their_caller_is_gone(start_caller: StartCaller, number: signal.Signals) -> None:
    caller, hanging = start_caller("local")
    time.sleep(1.5)
    workers = [pid for toy in hanging for pid in toy.pids]
    assert not any(is_gone(pid) for pid in workers), "the control: they stay as long as it lives"
    os.kill(caller.pid, number)
    caller.wait(timeout=30)
    wait_until_gone(workers)


@pytest.mark.slow
def test_ctrl_c_reaches_the_caller_alone(start_caller: StartCaller) -> None:
    caller, hanging = start_caller("local")
    workers = [pid for toy in hanging for pid in toy.pids]
    for pid in workers:
        os.kill(pid, signal.SIGINT)
    time.sleep(0.5)
    assert not any(is_gone(pid) for pid in workers)
    os.killpg(caller.pid, signal.SIGTERM)  # the signal that the group of a stopped job gets ends all of them
    wait_until_gone([caller.pid, *workers])


@pytest.mark.slow
def test_workers_see_no_secret_and_share_the_processors(
    two: Executor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HF_TOKEN", "PIPELINE_OWNER_KEY"):
        monkeypatch.setenv(name, "sesame")
    run(two, toys.write_environment, toys.toys(tmp_path, 2))
    seen = (tmp_path / "0.txt").read_text()
    assert "sesame" not in seen
    assert "sesame" not in child_environment().values()
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    assert f"POLARS_MAX_THREADS={max(1, processors // 2)}" in seen.splitlines()
    assert os.environ["HF_TOKEN"] == "sesame", "this process keeps its own"


@pytest.mark.slow
def test_workers_see_the_credentials_for_the_parts_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "AZURE_STORAGE_KEY"):
        monkeypatch.setenv(name, f"sesame of {name}")
    run(open_executor("local", 2, parts="s3://bucket/parts"), toys.write_environment, toys.toys(tmp_path, 2))
    seen = (tmp_path / "0.txt").read_text()
    assert [line for line in seen.splitlines() if "sesame" in line] == [
        "AWS_SECRET_ACCESS_KEY=sesame of AWS_SECRET_ACCESS_KEY"
    ]


def test_polars_and_the_tokenizers_keep_to_their_threads() -> None:
    """Checked in a new process, because both read the variables once; three threads are the control."""
    script = "import polars; print(polars.thread_pool_size())"
    from pipeline.data.execution.tasks import thread_limits

    for threads in (1, 3):
        done = subprocess.run(
            [sys.executable, "-c", script],
            env={**child_environment(), **thread_limits(threads)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert int(done.stdout) == threads
