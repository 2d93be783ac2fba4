"""fp16: a step that overflows changes nothing. Runs on a CPU with torch's gradient scaler, as GPUs without bf16 do."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer

from pipeline.core.atomic_io import read_lines
from pipeline.core.paths import Home, RunFolder
from pipeline.training import session
from pipeline.training.device import Precision
from pipeline.training.state_file import read_state
from tests.training.runs import ask_to_resume, losses, new_run, stops_at, train_here, weights

TOO_LARGE = 2.0**19
"""A scale with which gradients overflow in fp16. It is halved at each step that overflows."""
STEPS = 12


class HalfPrecision(Accelerator):
    """Behaves as Accelerate with mixed_precision "fp16" on a GPU, which Accelerate refuses on a CPU."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "mixed_precision": "no"})
        self.native_amp = True
        self.state._mixed_precision = "fp16"
        self.scaler = torch.amp.GradScaler("cpu", init_scale=TOO_LARGE)


@pytest.fixture(autouse=True)
def half_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "Accelerator", HalfPrecision)
    monkeypatch.setattr(session, "choose_precision", lambda *_: Precision("fp16", "as set"))


def num_skipped(folder: RunFolder) -> int:
    """Number of steps that overflowed. Asserts that none of them advanced the schedule, and all others did."""
    saved = {name: read_state(folder.checkpoint(STEPS) / "training", name) for name in ("scaler", "schedule")}
    skipped = round(torch.log2(torch.tensor(TOO_LARGE / saved["scaler"]["scale"])).item())
    assert saved["schedule"]["last_epoch"] == STEPS - skipped
    rates = [row["learning_rate"] for row in read_lines(folder.metrics) if row["step"] > 0]
    # The first step that counts also has rate 0, because the warm-up starts there.
    assert rates[: skipped + 1] == [0.0] * (skipped + 1) and rates[skipped + 1] > 0
    return skipped


def test_a_run_goes_on_in_fp16_after_it_began_without(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a CPU to a GPU without bf16, as on a Space. The checkpoint has no state of a scaler."""
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(session, "Accelerator", Accelerator)
        elsewhere.setattr(session, "choose_precision", lambda *_: Precision("fp32", "as set"))
        folder = new_run(home)
        train_here(folder, stops_at(4))
    assert not (folder.checkpoint(4) / "training" / "scaler.json").exists()
    ask_to_resume(folder)
    assert train_here(folder)["state"] == "finished"
    assert (folder.checkpoint(STEPS) / "training" / "scaler.json").exists()


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_step_that_overflows_changes_neither_weights_nor_schedule(home: Home, optimizer: str) -> None:
    folder = new_run(home, optimizer=optimizer)
    assert train_here(folder)["state"] == "finished"
    skipped = num_skipped(folder)
    assert 1 <= skipped <= 8
    found = losses(folder)
    assert found[skipped]["grad_norm"] is None, "infinite, which JSON cannot represent"
    assert found[skipped + 1]["grad_norm"] > 0
    assert found[STEPS]["eval_loss"] < found[0]["eval_loss"]


def test_a_schedule_that_advances_at_every_step_is_detected(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control."""
    monkeypatch.setattr(AcceleratedOptimizer, "step_was_skipped", property(lambda _: False))
    folder = new_run(home)
    train_here(folder)
    with pytest.raises(AssertionError):
        num_skipped(folder)


def test_a_resumed_run_keeps_its_loss_scale_and_is_bit_identical(home: Home) -> None:
    whole, parts = new_run(home, "whole"), new_run(home, "parts")
    train_here(whole)
    assert train_here(parts, stops_at(2))["state"] == "stopped"
    ask_to_resume(parts)
    train_here(parts)
    assert losses(parts) == losses(whole)
    assert weights(parts, STEPS) == weights(whole, STEPS)
