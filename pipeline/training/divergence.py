"""When a run is lost: a loss, or the weights themselves, are no longer numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping

from pipeline.core.errors import DivergedError
from pipeline.training.run import Run
from pipeline.training.session import Session

LOSSES = ("train_loss", "weighted_loss", "eval_loss")


def check_losses(run: Run, step: int, row: Mapping[str, float]) -> None:
    """Raises DivergedError when a loss of the metrics row of `step` is nan or infinite."""
    for name in LOSSES:
        if not math.isfinite(row.get(name, 0.0)):
            raise _diverged(run, step, f"{name} is {row[name]}")


def check_weights(session: Session, step: int) -> None:
    """Raises DivergedError when weights are: a checkpoint of them would hide the last good one. All ranks must call it."""
    if not session.weights_are_finite():
        raise _diverged(session.run, step, "some weights are nan or infinite")


def _diverged(run: Run, step: int, what: str) -> DivergedError:
    training = run.config.training
    return DivergedError(
        f"Run {run.folder.id} diverged at step {step}: {what}; start a new run with a learning_rate below "
        f"{training.learning_rate:g}, a longer warm-up than {training.warmup_steps} steps, or precision fp32.",
        step=step,
        reason=what,
    )
