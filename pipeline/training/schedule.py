"""The learning rate as a pure function of the optimizer step: up in a line, perhaps flat, down to 0 at the last step.

Counted in optimizer steps. Never handed to Accelerate, which would step it once per process.
"""

from __future__ import annotations

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from pipeline.config import TrainingConfig


def rate_factor(config: TrainingConfig, step: int) -> float:
    """Share of the peak rate after `step` optimizer steps: 0 at step 0 (with a warm-up) and at `max_steps`.

    `linear` and `cosine` are the curves of transformers' `get_linear_schedule_with_warmup` and
    `get_cosine_schedule_with_warmup`; `flat` stays at the peak until the last `decay_share` of the steps, then falls in
    a line.
    """
    if step < config.warmup_steps:
        return step / config.warmup_steps
    left = (config.max_steps - step) / max(1, config.max_steps - config.warmup_steps)
    if config.schedule == "cosine":
        return 0.5 * (1.0 - math.cos(math.pi * left))
    if config.schedule == "flat":
        return min(1.0, (config.max_steps - step) / max(1.0, config.decay_share * config.max_steps))
    return left


def build_schedule(optimizer: Optimizer, config: TrainingConfig) -> LambdaLR:
    """Step it once per optimizer step."""
    return LambdaLR(optimizer, lambda step: rate_factor(config, step))
