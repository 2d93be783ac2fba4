"""The learning rate of an optimizer, step by step. Never handed to Accelerate, which would step it once per process."""

from __future__ import annotations

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from pipeline.config.lr_schedule import rate_factor
from pipeline.config.schema import TrainingConfig


def build_schedule(optimizer: Optimizer, config: TrainingConfig) -> LambdaLR:
    """Step it once per optimizer step."""
    return LambdaLR(optimizer, lambda step: rate_factor(config, step))
