"""The trainer in separate processes, which are killed, stopped and started together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from accelerate import PartialState

from pipeline.artifacts.checkpoint import best_of, checkpoints_of, newest_valid, step_of
from pipeline.core.atomic_io import is_locked, read_json, read_lines, write_json
from pipeline.core.paths import Home, RunFolder
from pipeline.core.processes import ProcessId
from pipeline.training.lost_rank import RankProcess, Ranks
from tests.training.runs import (
    ROOT,
    ask_to_resume,
    copy_home,
    losses,
    new_run,
    start_process,
    status,
    train_here,
    weights,
)
from tests.waiting import eventually

pytestmark = pytest.mark.slow
Start = Callable[..., "subprocess.Popen[bytes]"]
LONG = {"max_steps": 240, "eval_every_steps": 80, "checkpoint_every_steps": 30}


@pytest.fixture(scope="module")
def undisturbed(template: Home, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """The reference run that the others are compared with. Read only."""
    folder = new_run(copy_home(template, tmp_path_factory.mktemp("undisturbed") / "home"), **LONG)
    train_here(folder)
    return folder


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[subprocess.Popen[bytes]] = []

    def start(folder: RunFolder, *launcher: str) -> subprocess.Popen[bytes]:
        started.append(start_process(folder, *launcher))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def wait_for_step(folder: RunFolder, process: subprocess.Popen[bytes], step: int) -> None:
    end = time.monotonic() + 500
    while time.monotonic() < end and process.poll() is None:
        if any(row["step"] >= step for row in read_lines(folder.metrics)):
            return
        time.sleep(0.005)
    raise AssertionError(f"step {step} was not reached: {folder.log.read_text()}")


def test_a_killed_run_resumes_bit_identically(home: Home, undisturbed: RunFolder, start: Start) -> None:
    killed = new_run(home, "killed", **LONG)
    process = start(killed)
    wait_for_step(killed, process, 70)
    process.kill()
    process.wait()
    assert status(killed)["state"] == "running" and not is_locked(killed.lock)
    last_step = read_lines(killed.metrics)[-1]["step"]
    assert 60 <= newest_valid(killed).step < 240
    assert last_step - newest_valid(killed).step <= 30

    ask_to_resume(killed)
    assert start(killed).wait() == 0
    assert status(killed)["state"] == "finished"
    assert losses(killed) == losses(undisturbed)
    assert weights(killed, 240) == weights(undisturbed, 240)
    assert "Traceback" not in killed.log.read_text()


def test_sigterm_saves_the_current_step_and_stops(home: Home, undisturbed: RunFolder, start: Start) -> None:
    folder = new_run(home, **{**LONG, "checkpoint_every_steps": 240})  # so that the only checkpoint is that of the stop
    process = start(folder)
    wait_for_step(folder, process, 70)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 0
    stopped = status(folder)
    assert (stopped["state"], stopped["error"], stopped["eta_seconds"]) == ("stopped", None, None)
    assert newest_valid(folder).step == stopped["step"] == read_lines(folder.metrics)[-1]["step"]
    assert 70 <= stopped["step"] < 240

    ask_to_resume(folder)
    train_here(folder)
    assert losses(folder) == losses(undisturbed)
    assert weights(folder, 240) == weights(undisturbed, 240)


def test_two_processes_train_as_one_does(home: Home, start: Start) -> None:
    """Evaluates an odd number of windows, so that the two processes have unequal shares."""
    changes = {"dropout": 0, "micro_batch_size": 2, "eval_windows": 7}
    alone, together = new_run(home, "alone", **changes), new_run(home, "together", **changes)
    train_here(alone)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m"]
    process = start(together, *launcher)
    assert process.wait() == 0, together.log.read_text()
    assert status(together)["state"] == "finished"
    assert "2 process(es) on cpu" in together.log.read_text()
    assert [row["step"] for row in read_lines(together.metrics)] == list(range(13))
    found = losses(together)
    for step, expected in losses(alone).items():
        assert found[step] == pytest.approx(expected, rel=1e-5)


def test_a_run_whose_rank_is_killed_names_it_and_resumes(home: Home, start: Start) -> None:
    folder = new_run(home, micro_batch_size=2, **LONG)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m"]
    process = start(folder, *launcher)
    wait_for_step(folder, process, 40)
    ranks = [rank for rank in psutil.Process(process.pid).children() if rank.environ().get("RANK") == "1"]
    ranks[0].kill()
    assert process.wait() != 0
    now = status(folder)
    assert now["state"] == "failed"
    assert now["error"].startswith(f"Run run has lost rank 1 (process {ranks[0].pid} on ")
    assert now["error"].endswith("that train.log has; resume it to continue from its last checkpoint.")

    ask_to_resume(folder)
    assert start(folder, *launcher).wait() == 0, folder.log.read_text()
    assert status(folder)["state"] == "finished"


def test_a_rank_that_fails_itself_keeps_its_error(home: Home) -> None:
    """Control: alone, or with an error that has nothing to do with the others."""
    folder = new_run(home)
    PartialState(cpu=True)
    alone = Ranks.gather(folder)
    with pytest.raises(RuntimeError, match="connection"), alone.naming_the_lost():
        raise RuntimeError("connection closed by peer")
    two = Ranks([RankProcess(rank, "h", ProcessId(rank + 1, 0.0)) for rank in (0, 1)], folder)
    with pytest.raises(RuntimeError, match="shapes"), two.naming_the_lost():
        raise RuntimeError("shapes do not match")


def test_the_checkpoints_of_a_held_run_are_registered_and_rotated(
    home: Home, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIPELINE_HUB_REPO", raising=False)
    folder = new_run(home, **{**LONG, "checkpoint_every_steps": 20, "max_steps": 400})
    write_json(folder.request, {**(read_json(folder.request) or {}), "held": True})
    process = start(folder)
    wait_for_step(folder, process, 110)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 0
    stopped = newest_valid(folder).step
    eventually(lambda: {row.get("step") for row in read_lines(folder.pushes)} >= {20, 40, 60, 80, 100, stopped})

    ask_to_resume(folder)
    process = start(folder)
    wait_for_step(folder, process, stopped + 40)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 0
    steps = [step_of(path) for path in checkpoints_of(folder)]
    assert not {20, 40, 60} & set(steps) - {step_of(best_of(folder) or folder.path)}
    eventually(lambda: not is_locked(home.worker_lock))


def test_an_impossible_start_fails_with_a_one_line_message(home: Home) -> None:
    def main(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "pipeline.training", *arguments], capture_output=True, text=True, check=False
        )

    for arguments, sentence in (
        ([], "It takes one run folder, not 0 arguments.\n"),
        ([str(home.run("nobody").path)], "start a run with `python -m pipeline train`.\n"),
    ):
        result = main(*arguments)
        assert (result.returncode, result.stdout) == (2, "")
        assert result.stderr.endswith(sentence) and result.stderr.count("\n") == 1
    assert not home.run("nobody").path.exists()


@pytest.mark.parametrize(
    "launcher", [[], ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m"]]
)
def test_a_run_that_requests_sharding_never_silently_trains_unsharded(
    home: Home, start: Start, launcher: list[str]
) -> None:
    """On a CPU Accelerate accepts a request for FSDP2 but trains full copies."""
    folder = new_run(home, sharding="fsdp2", micro_batch_size=2)
    process = start(folder, *launcher)
    assert process.wait(timeout=500) != 0
    assert "sharding is 'fsdp2', but" in (status(folder)["error"] or "")
    assert "start several processes with a CUDA GPU each, or set sharding none" in status(folder)["error"]
    assert not checkpoints_of(folder)


def test_both_processes_leave_the_process_group_before_they_exit(home: Home, tmp_path: Path) -> None:
    """A process that is still connected only sometimes aborts at exit, so the exit status alone proves nothing."""
    folder = new_run(home, max_steps=2, warmup_steps=1)
    script = tmp_path / "trains.py"
    script.write_text(
        "import sys\nfrom pathlib import Path\n"
        "from pipeline.core.paths import RunFolder\nfrom pipeline.training.__main__ import run\n"
        "run(RunFolder(Path(sys.argv[1])))\n"
        "from torch import distributed\n"
        "print(f'connected: {distributed.is_initialized()}', flush=True)\n"
    )
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    command = [sys.executable, *torchrun, str(script), str(folder.path)]
    ended = subprocess.run(
        command,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr
    assert (ended.stdout.count("connected: False"), ended.stdout.count("connected: True")) == (2, 0)
