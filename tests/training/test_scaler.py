"""fp16: what a step that overflows leaves as it was. On a CPU, with the scaler that torch has for it; GPUs without bf16 use
the same one.
"""

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
from tests.training.runs import ask_to_resume, losses, new_run, stops_at, train_here, weights

TOO_LARGE = 2.0**19
"""A scale with which gradients have no room in fp16; halved at each step that overflows."""
STEPS = 12


class HalfPrecision(Accelerator):
    """As Accelerate is on a GPU for mixed_precision "fp16", which it refuses on a CPU."""

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
    """Steps of the run that overflowed. Asserts that none of them moved the schedule, and all others did."""
    saved = {
        name: torch.load(folder.checkpoint(STEPS) / "training" / f"{name}.pt", weights_only=True)
        for name in ("scaler", "schedule")
    }
    skipped = round(torch.log2(torch.tensor(TOO_LARGE / saved["scaler"]["scale"])).item())
    assert saved["schedule"]["last_epoch"] == STEPS - skipped
    rates = [row["learning_rate"] for row in read_lines(folder.metrics) if row["step"] > 0]
    # The first step that counts has the rate 0 as well, where a warm-up begins.
    assert rates[: skipped + 1] == [0.0] * (skipped + 1) and rates[skipped + 1] > 0
    return skipped


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_step_that_overflows_moves_neither_weights_nor_schedule(home: Home, optimizer: str) -> None:
    folder = new_run(home, optimizer=optimizer)
    assert train_here(folder)["state"] == "finished"
    skipped = num_skipped(folder)
    assert 1 <= skipped <= 8
    found = losses(folder)
    assert found[skipped]["grad_norm"] is None, "infinite, which JSON cannot say"
    assert found[skipped + 1]["grad_norm"] > 0
    assert found[STEPS]["eval_loss"] < found[0]["eval_loss"]


def test_a_schedule_that_moves_with_every_step_is_found_out(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control."""
    monkeypatch.setattr(AcceleratedOptimizer, "step_was_skipped", property(lambda _: False))
    folder = new_run(home)
    train_here(folder)
    with pytest.raises(AssertionError):
        num_skipped(folder)


def test_a_run_goes_on_the_same_to_the_bit_with_its_scale(home: Home) -> None:
    whole, parts = new_run(home, "whole"), new_run(home, "parts")
    train_here(whole)
    assert train_here(parts, stops_at(2))["state"] == "stopped"
    ask_to_resume(parts)
    train_here(parts)
    assert losses(parts) == losses(whole)
    assert weights(parts, STEPS) == weights(whole, STEPS)
