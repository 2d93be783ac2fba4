"""The learning rate of an optimizer, step by step. Never handed to Accelerate, which would step it once per process."""

from __future__ import annotations

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from pipeline.config import TrainingConfig
from pipeline.rates import rate_factor


def build_schedule(optimizer: Optimizer, config: TrainingConfig) -> LambdaLR:
    """Step it once per optimizer step."""
    return LambdaLR(optimizer, lambda step: rate_factor(config, step))
