"""The losses equal those of `transformers.Trainer`, and do not depend on how a batch is divided.

Dropout 0, float32, CPU, the same data in the same order; 50 optimizer steps, each loss within a relative 1e-5.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState
from torch.utils.data import Dataset, Sampler, SequentialSampler
from transformers import Trainer, TrainerCallback, TrainingArguments

from pipeline.core.atomic_io import read_json, read_lines
from pipeline.core.paths import Home, RunFolder
from pipeline.data.tokens.windows import open_windows
from pipeline.training.run import Run, open_run
from pipeline.training.session import open_session
from tests.training.runs import new_run, start_process, train_here

pytestmark = pytest.mark.slow
STEPS = 50
SAME: dict[str, Any] = {
    "dropout": 0,
    "max_steps": STEPS,
    "warmup_steps": 5,
    "learning_rate": 3e-3,
    "eval_every_steps": 25,
    "checkpoint_every_steps": 50,
    "batch_size": 16,
}


class Ordered(Dataset):
    """The windows that our run reads, in the same order."""

    def __init__(self, run: Run) -> None:
        training = run.config.training
        windows = open_windows(run.corpus, "train", run.config.model.window)
        self.windows = windows.batch(training.seed, 0, STEPS * training.batch_size)

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        input_ids = torch.from_numpy(self.windows[index])
        labels = input_ids.clone()
        labels[0] = -100  # no position predicts it, but Trainer would divide by all labels: its loss would be 15/16
        return {"input_ids": input_ids, "labels": labels}


class InOrder(Trainer):
    """Reads its data sequentially; everything else is Trainer's own."""

    def _get_train_sampler(self, *_: Any) -> Sampler:
        return SequentialSampler(self.train_dataset)


class Losses(TrainerCallback):
    def __init__(self) -> None:
        self.losses: list[float] = []
        self.norms: list[float] = []
        self.rates: list[float] = []

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        if logs and "loss" in logs:
            self.losses.append(logs["loss"])
            self.norms.append(logs["grad_norm"])
            self.rates.append(logs["learning_rate"])


def trainers_losses(run: Run, folder: Path, micro_batch_size: int) -> Losses:
    training = run.config.training
    session = open_session(run)  # for its fresh weights
    seen = Losses()
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=STEPS,
        per_device_train_batch_size=micro_batch_size,
        gradient_accumulation_steps=training.batch_size // micro_batch_size,
        learning_rate=training.learning_rate,
        lr_scheduler_type=training.schedule,
        warmup_steps=training.warmup_steps,
        weight_decay=training.weight_decay,
        max_grad_norm=training.max_grad_norm,
        logging_steps=1,
        logging_first_step=True,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        optim="adamw_torch_fused",
    )
    InOrder(session.plain_model, arguments, train_dataset=Ordered(run), callbacks=[seen]).train()
    return seen


def ours(folder: RunFolder, name: str) -> list[float]:
    return [row[name] for row in read_lines(folder.metrics) if name in row]


@pytest.mark.parametrize("micro_batch_size", [16, 4])
@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_the_losses_are_those_of_trainer(home: Home, tmp_path: Path, schedule: str, micro_batch_size: int) -> None:
    folder = new_run(home, recipe="trainer", **{**SAME, "schedule": schedule, "micro_batch_size": micro_batch_size})
    train_here(folder)
    AcceleratorState._reset_state(reset_partial_state=True)
    theirs = trainers_losses(open_run(folder, {**(read_json(folder.request) or {})}), tmp_path / "t", micro_batch_size)
    assert len(theirs.losses) == STEPS
    assert ours(folder, "train_loss") == pytest.approx(theirs.losses, rel=1e-5)
    assert ours(folder, "grad_norm") == pytest.approx(theirs.norms, rel=1e-4)
    assert ours(folder, "learning_rate") == pytest.approx(theirs.rates, rel=1e-6)
    assert theirs.losses[0] - theirs.losses[-1] > 0.5, "control: something was learned"


def test_a_different_weight_decay_is_detected(home: Home, tmp_path: Path) -> None:
    """Negative control: the comparison detects a small difference."""
    folder = new_run(home, recipe="trainer", **SAME, weight_decay=0.2)
    train_here(folder)
    other = new_run(home, "other", recipe="trainer", **SAME, weight_decay=0.1)
    AcceleratorState._reset_state(reset_partial_state=True)
    theirs = trainers_losses(open_run(other, read_json(other.request) or {}), tmp_path / "t", 4)
    assert ours(folder, "train_loss") != pytest.approx(theirs.losses, rel=1e-5)


@pytest.mark.parametrize("recipe", ["accelerate", "trainer", "fast"])
def test_the_losses_do_not_depend_on_how_a_batch_is_divided(home: Home, recipe: str) -> None:
    """Micro-batches in one process (accumulation of 1, 4 and 8), and two processes."""
    losses = {}
    for parts in (1, 4, 8):
        folder = new_run(home, f"parts-{parts}", recipe=recipe, **SAME, micro_batch_size=16 // parts)
        assert train_here(folder)["state"] == "finished"
        losses[f"{parts} micro-batches"] = ours(folder, "train_loss") + ours(folder, "eval_loss")
    folder = new_run(home, "two", recipe=recipe, **SAME, micro_batch_size=4)
    process = start_process(folder, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m")
    assert process.wait(timeout=300) == 0, folder.log.read_text()
    assert "2 process(es)" in folder.log.read_text()
    losses["2 processes"] = ours(folder, "train_loss") + ours(folder, "eval_loss")
    whole = losses.pop("1 micro-batches")
    assert len(whole) == STEPS + 3
    for how, found in losses.items():
        assert found == pytest.approx(whole, rel=1e-5), how
