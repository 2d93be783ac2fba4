"""A non-finite loss or weights: the run stops with a message or rolls back, and never saves them."""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from pipeline.artifacts import manifest
from pipeline.artifacts.checkpoint import checkpoints_of, newest_valid, verify
from pipeline.core.atomic_io import read_lines
from pipeline.core.paths import Home, RunFolder
from pipeline.data.tokens.windows import open_windows
from pipeline.training import divergence
from pipeline.training.loop import MAX_ROLLBACKS
from pipeline.training.loss import NextTokenLoss
from pipeline.training.run import open_run
from pipeline.training.state_file import write_state
from tests.faults.bugs import saves_weights_that_are_no_numbers
from tests.faults.conftest import References
from tests.faults.trials import RUN, Tally, finish, measured, outcome
from tests.training.runs import ask_to_resume, new_run, status

pytestmark = pytest.mark.slow
RATE = 10
EXPLODING: dict[str, Any] = {
    **RUN,
    "recipe": "keras",
    "schedule": "flat",
    "learning_rate": RATE,
    "max_grad_norm": 0,
    "warmup_steps": 0,
    "checkpoint_every_steps": 1,
}
"""A real configuration: with weight decay, each step multiplies the matrices by 1 - learning_rate * weight_decay."""
LOSS, WEIGHTS = {"weight_decay": 10}, {"weight_decay": 5}
"""What becomes non-finite first: the loss itself, or the weights after a finite loss."""
POISONED_STEP = 8


def tolerates_large_losses() -> None:
    """Otherwise the run would end before its loss or its weights are no numbers."""
    divergence.FAR_ABOVE = math.inf  # type: ignore[misc]


def saves_no_numbers() -> None:
    tolerates_large_losses()
    saves_weights_that_are_no_numbers()


def check_diverged(folder: RunFolder, exit_status: int, reason: str) -> int:
    """Assert that the run failed with `reason` and saved only finite weights. Returns the step at which it failed."""
    now, last = status(folder), read_lines(folder.metrics)[-1]
    assert (exit_status, now["state"]) == (1, "failed")
    start = (
        f"Run {folder.id} diverged at step {last['step']}: {reason}; start a new run with a learning_rate below {RATE} "
    )
    assert now["error"].startswith(start), now["error"]
    assert folder.log.read_text().count(now["error"]) == 1
    for path in checkpoints_of(folder):
        verify(path)
        weights = load_file(path / "model.safetensors").values()
        assert all(bool(torch.isfinite(each).all()) for each in weights), f"{path.name} contains non-finite weights"
    assert newest_valid(folder).step == last["step"] - 1
    return last["step"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [(LOSS, "train_loss is nan"), (WEIGHTS, "some weights are nan or infinite")],
    ids=["loss", "weights"],
)
def test_a_run_that_diverges_stops_and_so_does_the_resumed_run(
    home: Home, tally: Tally, changes: dict[str, Any], reason: str
) -> None:
    folder = new_run(home, **EXPLODING, **changes)
    at = check_diverged(folder, finish(folder, tolerates_large_losses), reason)
    row = measured(folder)[at]
    assert (row["train_loss"] is None) == (changes == LOSS)
    assert row["grad_norm"] is None
    folder.log.write_text("")
    ask_to_resume(folder)
    assert check_diverged(folder, finish(folder, tolerates_large_losses), reason) == at
    assert f"going on from step {at - 1}\n" in folder.log.read_text()
    tally.counts[f"runs stopped at step {at}"] += 2


def test_a_run_that_diverges_on_any_data_is_rolled_back_three_times_and_stops(home: Home, tally: Tally) -> None:
    folder = new_run(home, **EXPLODING, **LOSS, on_divergence="roll_back")
    at = check_diverged(folder, finish(folder, tolerates_large_losses), "train_loss is nan")
    rolled_back = [row for row in read_lines(folder.metrics) if "rolled_back_from" in row]
    assert [(row["step"], row["rolled_back_from"]) for row in rolled_back] == [(at - 1, at)] * MAX_ROLLBACKS
    tally.counts["roll-backs"] = len(rolled_back)


def test_a_run_that_saves_non_finite_weights_is_detected(home: Home) -> None:
    """Negative control."""
    folder = new_run(home, **EXPLODING, **WEIGHTS)
    exit_status = finish(folder, saves_no_numbers)
    with pytest.raises(AssertionError, match="contains non-finite weights"):
        check_diverged(folder, exit_status, "train_loss is nan")  # its final error, one step too late


@dataclass
class Poison:
    """Makes the loss of these windows nan. It is injected, because token ids alone cannot cause it."""

    windows: Tensor
    """int64[count, window]."""

    def __call__(self) -> None:
        forward = NextTokenLoss.forward

        def poisoned(loss: NextTokenLoss, input_ids: Tensor) -> Tensor:
            is_poisoned = (input_ids[:, None] == self.windows[None]).all(dim=2).any(dim=1)
            return forward(loss, input_ids).masked_fill(is_poisoned[:, None], torch.nan)

        NextTokenLoss.forward = poisoned  # type: ignore[method-assign]


def windows_only_of(folder: RunFolder, at: int) -> Tensor:
    """int64[count, window]: windows that only step `at` sees, among the run's steps and the `at` - 1 after them."""
    run = open_run(folder, {"corpus": "python", "preset": "tiny", "recipe": "accelerate", "resume": True})
    training = run.config.training
    windows, size = open_windows(run.corpus, "train", run.config.model.window), training.batch_size
    steps = range(1, training.max_steps + at)
    seen = {each: set(map(tuple, windows.batch(training.seed, (each - 1) * size, size).tolist())) for each in steps}
    alone = seen[at].difference(*(seen[each] for each in steps if each != at))
    return torch.tensor(sorted(alone))


def skipping(folder: RunFolder, copy: RunFolder, *, start: int, skipped: int) -> RunFolder:
    """A run that resumes from checkpoint `start` of another one, with a data offset of `skipped` steps."""
    shutil.copytree(folder.path, copy.path)
    for path in checkpoints_of(copy):
        if path != copy.checkpoint(start):
            shutil.rmtree(path)
    copy.status.unlink()
    kept = copy.checkpoint(start)
    write_state(kept / "training", "position", {"skipped_steps": skipped, "rollbacks": 1})
    (kept / manifest.NAME).unlink()
    manifest.seal(kept, start)
    ask_to_resume(copy)
    return copy


def test_rolling_back_past_poisoned_windows_saves_the_run(home: Home, undisturbed: References, tally: Tally) -> None:
    poison = Poison(windows_only_of(undisturbed().folder, POISONED_STEP))
    assert len(poison.windows) > 0
    stopped = new_run(home, "stopped", **RUN)
    assert finish(stopped, poison) == 1
    assert f"diverged at step {POISONED_STEP}: train_loss is nan" in status(stopped)["error"]

    folder = new_run(home, "rolled-back", **RUN, on_divergence="roll_back")
    assert finish(folder, poison) == 0, folder.log.read_text()
    rolled_back = [row for row in read_lines(folder.metrics) if "rolled_back_from" in row]
    assert [(row["step"], row["rolled_back_from"]) for row in rolled_back] == [(6, POISONED_STEP)]
    found = outcome(folder)
    assert found.rows[24]["eval_loss"] < 0.8 * found.rows[0]["eval_loss"]

    # A run on the same windows without poison is bit-identical from there on.
    reference = skipping(folder, home.run("reference"), start=6, skipped=POISONED_STEP - 6)
    assert finish(reference) == 0, reference.log.read_text()
    assert outcome(reference) == found
    tally.counts["runs saved"] += 1
