"""Learning rate as a pure function of the optimizer step: linear warm-up, optional plateau, decay to 0 at the last."""

from __future__ import annotations

import math

from pipeline.config.schema import TrainingConfig

CURVE_POINTS = 60


def rate_factor(config: TrainingConfig, step: int) -> float:
    """Fraction of the peak rate after `step` optimizer steps: 0 at step 0 (with a warm-up) and at `max_steps`.

    `linear` and `cosine` are the curves of transformers' `get_linear_schedule_with_warmup` and
    `get_cosine_schedule_with_warmup`; `flat` stays at the peak until the last `decay_share` of the steps, then
    falls linearly.
    """
    if step < config.warmup_steps:
        return step / config.warmup_steps
    left = (config.max_steps - step) / max(1, config.max_steps - config.warmup_steps)
    if config.schedule == "cosine":
        return 0.5 * (1.0 - math.cos(math.pi * left))
    if config.schedule == "flat":
        return min(1.0, (config.max_steps - step) / max(1.0, config.decay_share * config.max_steps))
    return left


def rate_curve(config: TrainingConfig) -> list[tuple[int, float]]:
    """(optimizer step, learning rate) pairs: about CURVE_POINTS steps, evenly spaced, and every corner of the curve."""
    corners = {0, config.warmup_steps, round(config.max_steps * (1 - config.decay_share)), config.max_steps}
    even = {config.max_steps * number // CURVE_POINTS for number in range(CURVE_POINTS)}
    return [(step, config.learning_rate * rate_factor(config, step)) for step in sorted(corners | even)]
