"""A run whose loss says that it has learned worse than nothing ends, and is nobody's default model."""

from __future__ import annotations

import math

import pytest

from pipeline.artifacts.checkpoint import Checkpoint, checkpoints_of
from pipeline.config.recipes import run_config
from pipeline.config.schema import RunConfig
from pipeline.core.atomic_io import read_json, read_lines
from pipeline.core.errors import DivergedError
from pipeline.core.paths import Home, RunFolder
from pipeline.training.divergence import LossMonitor, is_diverged
from pipeline.training.loop import MAX_ROLLBACKS
from pipeline.training.run_logger import RunLogger
from tests.training.runs import ask_to_resume, new_run, train_here

GUESS = math.log(4_096)


@pytest.fixture
def config() -> RunConfig:
    return run_config(corpus="c", preset="tiny", recipe="accelerate", vocab_size=4_096, train_tokens=10**6)


@pytest.mark.parametrize("name", ["train_loss", "eval_loss"])
def test_a_loss_far_above_that_of_guessing_is_divergence_at_once(config: RunConfig, name: str) -> None:
    LossMonitor(config, "a").check(7, {name: 1.9 * GUESS})
    with pytest.raises(
        DivergedError, match=rf"step 7: {name} is 3,902\.0, and 8\.3 for a model that guesses;"
    ) as caught:
        LossMonitor(config, "a").check(7, {name: 3_902})
    assert "a learning_rate below 0.002 (the recipe's is 0.002)" in str(caught.value)


def test_a_loss_that_stays_above_that_of_guessing_is_divergence(config: RunConfig) -> None:
    monitor = LossMonitor(config, "a")
    for step in range(0, 50, 10):
        monitor.check(step, {"train_loss": 1.2 * GUESS})
    with pytest.raises(DivergedError, match=r"step 50: train_loss has been above 8\.3"):
        monitor.check(50, {"train_loss": 1.2 * GUESS})


def test_fresh_weights_a_spike_and_the_weighted_loss_are_none(config: RunConfig) -> None:
    monitor = LossMonitor(config, "a")
    for step in range(0, 300, 10):
        monitor.check(step, {"train_loss": (1.5 if step % 40 == 0 else 1.03) * GUESS, "weighted_loss": 10 * GUESS})
        monitor.check(step, {"eval_loss": 1.2 * GUESS})
    assert not is_diverged(config, {"train_loss": 1.05 * GUESS})
    assert is_diverged(config, {"train_loss": 1.05 * GUESS, "eval_loss": 1.2 * GUESS})


def test_a_learning_rate_of_nine_and_a_half_ends_the_run_and_is_never_saved_as_sound(home: Home) -> None:
    folder = new_run(home, learning_rate=9.5, eval_every_steps=3, checkpoint_every_steps=1, max_steps=60)
    with pytest.raises(DivergedError, match=r"learning_rate below 9\.5 \(the recipe's is 0\.002\)"):
        train_here(folder)
    assert (read_json(folder.status) or {})["state"] == "failed"
    assert read_lines(folder.metrics)[-1]["step"] < 60
    sound = [path for path in checkpoints_of(folder) if not Checkpoint.open(path).provenance["diverged"]]
    losses = {row["step"]: row.get("train_loss", 0.0) for row in read_lines(folder.metrics)}
    assert all(losses[Checkpoint.open(path).step] <= 1.1 * math.log(320) for path in sound)


DIVERGING = {
    "recipe": "keras",
    "schedule": "flat",
    "learning_rate": 10,
    "weight_decay": 10,
    "max_grad_norm": 0,
    "warmup_steps": 0,
    "checkpoint_every_steps": 1,
    "on_divergence": "roll_back",
}
"""With weight decay, each step multiplies the matrices by 1 - learning_rate * weight_decay."""


def rollbacks(folder: RunFolder) -> list[dict[str, int]]:
    return [row for row in read_lines(folder.metrics) if "rolled_back_from" in row]


def test_rollbacks_count_over_the_whole_run_however_often_it_is_resumed(home: Home) -> None:
    folder = new_run(home, **DIVERGING)
    for _ in range(2):
        with pytest.raises(DivergedError):
            train_here(folder)
        assert len(rollbacks(folder)) == MAX_ROLLBACKS
        ask_to_resume(folder)


def test_a_run_that_is_resumed_before_its_next_checkpoint_is_still_past_the_skipped_windows(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = new_run(home, **DIVERGING)

    def killed(logger: RunLogger, step: int, lost_step: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunLogger, "rolled_back", killed)
        with pytest.raises(KeyboardInterrupt):
            train_here(folder)
    ask_to_resume(folder)
    with pytest.raises(DivergedError):
        train_here(folder)
    assert len(rollbacks(folder)) == MAX_ROLLBACKS - 1, "one before the kill"
    assert (read_json(folder.config) or {})["data_offset"] == {"skipped_steps": 3, "rollbacks": MAX_ROLLBACKS}
