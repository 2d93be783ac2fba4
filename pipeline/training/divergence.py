"""Detects a diverged run: a loss, or the weights themselves, are nan or infinite; or the loss is that of a model that
has learned worse than nothing.

A model that guesses, giving each token of the vocabulary the same probability, has the logarithm of its size as its
loss. Fresh weights are a little above that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from pipeline.config.recipes import default_learning_rate
from pipeline.config.schema import RunConfig
from pipeline.core.errors import DivergedError

LOSSES = ("train_loss", "weighted_loss", "eval_loss")
PLAIN_LOSSES = ("train_loss", "eval_loss")
"""Those that compare with guessing: the weighted one has another scale."""
FAR_ABOVE = 2.0
"""A loss above so many times that of guessing is a diverged run's at once."""
ABOVE = 1.1
"""The same for a training loss that stays there; fresh weights of the presets have 1.00 to 1.07 times it."""
MIN_STEPS_ABOVE = 50
SHARE_ABOVE = 0.05
"""How long it may stay there: so many steps, or this share of the run's steps if that is more."""


def loss_of_guessing(config: RunConfig) -> float:
    return math.log(config.model.vocab_size)


def is_diverged(config: RunConfig, row: Mapping[str, float]) -> bool:
    """Whether the losses in a metrics row are above that of guessing, so that its weights are of no use."""
    return any(row.get(name, 0.0) > ABOVE * loss_of_guessing(config) for name in PLAIN_LOSSES)


class LossMonitor:
    """Follows the losses of a run, from its start, a resume or a roll-back on."""

    def __init__(self, config: RunConfig, run: str) -> None:
        """`run`: its id, for messages."""
        self._config = config
        self._run = run
        self._guess = loss_of_guessing(config)
        self._max_steps_above = max(MIN_STEPS_ABOVE, math.ceil(SHARE_ABOVE * config.training.max_steps))
        self._above_since: int | None = None

    def check(self, step: int, row: Mapping[str, float]) -> None:
        """Raises DivergedError when the metrics row of `step` shows that the run has diverged."""
        for name in LOSSES:
            if not math.isfinite(row.get(name, 0.0)):
                raise diverged(self._config, self._run, step, f"{name} is {row[name]}")
        for name in PLAIN_LOSSES:
            if row.get(name, 0.0) > FAR_ABOVE * self._guess:
                raise diverged(
                    self._config,
                    self._run,
                    step,
                    f"{name} is {row[name]:,.1f}, and {self._guess:.1f} for a model that guesses",
                )
        if "train_loss" not in row:
            return
        if row["train_loss"] <= ABOVE * self._guess:
            self._above_since = None
        elif self._above_since is None:
            self._above_since = step
        elif step - self._above_since >= self._max_steps_above:
            raise diverged(
                self._config,
                self._run,
                step,
                f"train_loss has been above {self._guess:.1f}, that of a model that guesses, for "
                f"{step - self._above_since:,} steps",
            )


def diverged(config: RunConfig, run: str, step: int, what: str) -> DivergedError:
    """The error for the run with the id `run`; `what` was seen at `step`."""
    training = config.training
    usual = default_learning_rate(config.preset, config.recipe)
    return DivergedError(
        f"Run {run} diverged at step {step}: {what}; start a new run with a learning_rate below "
        f"{training.learning_rate:g} (the recipe's is {usual:g}), a longer warm-up than {training.warmup_steps} steps, or "
        "precision fp32.",
        step=step,
        reason=what,
    )
