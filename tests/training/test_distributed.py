"""The trainer as what it is: processes of its own that are killed, stopped and started together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.artifacts.checkpoint import checkpoints_of, newest_valid
from pipeline.core.atomic_io import is_locked, read_lines
from pipeline.core.paths import Home, RunFolder
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

pytestmark = pytest.mark.slow
Start = Callable[..., "subprocess.Popen[bytes]"]
LONG = {"max_steps": 240, "eval_every_steps": 80, "checkpoint_every_steps": 30}


@pytest.fixture(scope="module")
def undisturbed(template: Home, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """What the others are compared with. Read only."""
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
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        if any(row["step"] >= step for row in read_lines(folder.metrics)):
            return
        time.sleep(0.005)
    raise AssertionError(f"step {step} was not reached: {folder.log.read_text()}")


def test_a_killed_run_goes_on_the_same_to_the_bit(home: Home, undisturbed: RunFolder, start: Start) -> None:
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


def test_sigterm_saves_the_step_it_comes_in_and_stops(home: Home, undisturbed: RunFolder, start: Start) -> None:
    folder = new_run(home, **{**LONG, "checkpoint_every_steps": 240})  # so that the only one is that of the stop
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
    """Evaluation over an odd number of windows, so that the two have unequal shares of it."""
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


def test_a_start_that_cannot_be_answers_in_one_sentence(home: Home) -> None:
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
def test_a_model_that_is_to_be_spread_never_trains_whole_in_silence(
    home: Home, start: Start, launcher: list[str]
) -> None:
    """On a CPU Accelerate takes the wish for FSDP2 and trains copies."""
    folder = new_run(home, sharding="fsdp2", micro_batch_size=2)
    process = start(folder, *launcher)
    assert process.wait(timeout=120) != 0
    assert "sharding is 'fsdp2', but" in (status(folder)["error"] or "")
    assert "start several processes with a CUDA GPU each, or set sharding none" in status(folder)["error"]
    assert not checkpoints_of(folder)


def test_each_of_two_processes_leaves_the_other_before_it_ends(home: Home, tmp_path: Path) -> None:
    """Connected still, it may abort at its end, now and then: hence not by its exit status."""
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
