"""Kernels made by torch.compile: on CUDA the rule, here by wish. Where none can be compiled, torch's own are taken."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
import torch

from pipeline.files import read_json
from pipeline.folders import Home
from pipeline.training import checkpoints
from pipeline.training.machine import choose_compile
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
def test_where_none_can_be_compiled_it_says_so_and_trains_with_torchs_own(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "/no compiler here")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))  # or kernels of another run are taken
    small = {"max_steps": 2, "warmup_steps": 1, "n_layer": 1, "eval_every_steps": 2}
    folder, plain = new_run(home, **small, compile="on"), new_run(home, "plain", **small)
    assert start_process(folder).wait(timeout=TIMEOUT_SECONDS) == 0, folder.log.read_text()
    train_here(plain)
    assert (
        "kernels could not be compiled at step 0 (InvalidCxxCompiler: No working C++ compiler" in folder.log.read_text()
    )
    assert (read_json(folder.config) or {})["chosen"]["compiled"] is False
    assert losses(folder) == losses(plain), "to the bit, dropout included"


@pytest.mark.slow
@pytest.mark.parametrize("resumed", [False, True])
def test_a_signal_is_heard_while_kernels_are_compiled(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, resumed: bool
) -> None:
    """By a compiler that never ends, so that a run that waits for it never ends either."""
    small = {"max_steps": 4, "warmup_steps": 1, "n_layer": 1, "eval_every_steps": 4, "checkpoint_every_steps": 2}
    folder = new_run(home, **small, compile="on")
    if resumed:
        train_here(folder, stops_at(2))
        ask_to_resume(folder)
    called, is_over = tmp_path / "called", tmp_path / "over"
    compiler = tmp_path / "c++"
    compiler.write_text(f"#!/bin/sh\ntouch {called}\nwhile [ ! -e {is_over} ]; do sleep 0.1; done\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    process = start_process(folder)
    try:
        while not called.exists():
            assert process.poll() is None, folder.log.read_text()
            time.sleep(0.05)
        assert status(folder)["message"] == ("compiling" if resumed else "compiling and evaluating")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=TIMEOUT_SECONDS) == 0, folder.log.read_text()
    finally:
        is_over.touch()
        process.kill()
        process.wait()
    assert (status(folder)["state"], status(folder)["step"]) == ("stopped", 2 if resumed else 0)
    assert checkpoints.complete(folder) == ([folder.checkpoint(2)] if resumed else [])
