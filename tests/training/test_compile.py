"""Kernels made by torch.compile: the default on CUDA, here on request. If compilation fails, torch's own are used."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pipeline.artifacts.checkpoint import checkpoints_of
from pipeline.core.atomic_io import read_json, write_json
from pipeline.core.paths import ROOT, Home, RunFolder
from pipeline.training.device import choose_compile
from tests.training.runs import ask_to_resume, losses, new_run, start_process, status, stops_at, train_here

TIMEOUT_SECONDS = 400


@pytest.mark.parametrize(
    ("asked", "device", "is_compiled"),
    [("auto", "cpu", False), ("auto", "cuda", True), ("on", "cpu", True), ("off", "cuda", False)],
)
def test_auto_compiles_on_cuda_alone(asked: str, device: str, *, is_compiled: bool) -> None:
    assert choose_compile(asked, torch.device(device)) is is_compiled


@pytest.mark.slow
def test_a_compiled_run_has_the_losses_of_a_plain_one(home: Home) -> None:
    small = {"dropout": 0.0, "max_steps": 3, "warmup_steps": 1, "n_layer": 1, "eval_windows": 4}
    plain, compiled = new_run(home, "plain", **small), new_run(home, "compiled", **small, compile="on")
    train_here(plain)
    assert start_process(compiled).wait(timeout=TIMEOUT_SECONDS) == 0, compiled.log.read_text()
    expected, found = losses(plain), losses(compiled)
    assert list(found) == list(expected)
    for step, row in expected.items():
        assert found[step] == pytest.approx(row, rel=1e-4)
    assert "threads, compiled, fp32" in compiled.log.read_text()


@pytest.mark.slow
def test_a_failed_compilation_is_logged_and_falls_back_to_torchs_own_kernels(home: Home, tmp_path: Path) -> None:
    small = {"max_steps": 2, "warmup_steps": 1, "n_layer": 1, "eval_every_steps": 2}
    folder, plain = new_run(home, **small, compile="on"), new_run(home, "plain", **small)
    process = start_process(folder, **compiler("/no compiler here", tmp_path))
    assert process.wait(timeout=TIMEOUT_SECONDS) == 0, folder.log.read_text()
    train_here(plain)
    assert (
        "kernels could not be compiled at step 0 (InvalidCxxCompiler: No working C++ compiler" in folder.log.read_text()
    )
    assert (read_json(folder.config) or {})["chosen"]["compiled"] is False
    assert losses(folder) == losses(plain), "bit-identical, dropout included"


@pytest.mark.slow
@pytest.mark.parametrize(("resumed", "how"), [(False, "file"), (True, "signal")])
def test_a_stop_request_interrupts_the_compilation_of_a_kernel(
    home: Home, tmp_path: Path, *, resumed: bool, how: str
) -> None:
    """The compiler does not finish before the run has stopped."""
    small = {"max_steps": 4, "warmup_steps": 1, "n_layer": 1, "eval_every_steps": 4, "checkpoint_every_steps": 2}
    folder = new_run(home, **small, compile="on")
    if resumed:
        # In a process of its own: torch's compiler refuses one whose setuptools came after Python's own distutils.
        first = "from tests.training.test_compile import first_part; first_part()"
        subprocess.run([sys.executable, "-c", first, str(folder.path)], cwd=ROOT, check=True)
        assert (read_json(folder.config) or {})["chosen"]["compiled"] is True
        ask_to_resume(folder)
    called, may_end = tmp_path / "called", tmp_path / "may end"
    process = start_process(folder, **compiler(str(slow_compiler(tmp_path / "c++", called, may_end)), tmp_path))
    try:
        wait_until(called.exists, process, folder)
        assert status(folder)["message"] == ("compiling" if resumed else "compiling and evaluating")
        if how == "signal":
            process.send_signal(signal.SIGTERM)
        else:
            write_json(folder.stop, {"request_id": status(folder)["request_id"]})
        wait_until(lambda: status(folder)["state"] != "running", process, folder)
    finally:
        may_end.touch()
    assert process.wait(timeout=TIMEOUT_SECONDS) == 0, folder.log.read_text()
    assert (status(folder)["state"], status(folder)["step"]) == ("stopped", 2 if resumed else 0)
    assert checkpoints_of(folder) == ([folder.checkpoint(2)] if resumed else [])


def first_part() -> None:
    """Train the run whose folder is the first argument up to step 2."""
    train_here(RunFolder(Path(sys.argv[1])), stops_at(2))


def compiler(command: str, tmp_path: Path) -> dict[str, str]:
    """The variables of a process that compiles with `command` and finds no kernels of another run. They are not set
    here: torch reads them once, and the compiled runs of this process would keep them.
    """
    return {"CXX": command, "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}


def slow_compiler(path: Path, called: Path, may_end: Path) -> Path:
    """The real compiler; for the source of a kernel it first creates `called` and waits until `may_end` exists."""
    path.write_text(
        f"""#!/bin/sh
        for argument in "$@"; do
            case "$argument" in *.cpp) if grep -q '[[:space:]]kernel(' "$argument"; then
                touch '{called}'
                until [ -e '{may_end}' ]; do sleep 0.1; done
            fi;; esac
        done
        exec c++ "$@"
        """
    )
    path.chmod(0o755)
    return path


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[bytes], folder: RunFolder) -> None:
    end = time.monotonic() + TIMEOUT_SECONDS
    while not condition():
        assert process.poll() is None and time.monotonic() < end, folder.log.read_text()
        time.sleep(0.05)
