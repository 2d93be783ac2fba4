"""AdamW with weight decay selected by GPT-2's actual parameter names; or Muon for the matrices of the blocks."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from pipeline.config.lr_schedule import rate_factor
from pipeline.config.schema import TrainingConfig
from pipeline.training.muon import Muon

LAYER_NORMS = ("ln_1.weight", "ln_2.weight", "ln_f.weight")
"""GPT-2 has no module called LayerNorm, so the usual `"LayerNorm.weight"` would match none of them."""


def build_optimizer(model: nn.Module, config: TrainingConfig, *, dtype: torch.dtype = torch.float32) -> Optimizer:
    """The optimizer that `config.optimizer` names, for `model`'s parameters. `dtype`: of the run's matrix
    multiplications; with float16 a gradient scaler drives the optimizer.
    """
    if config.optimizer == "muon":
        matrices, others = matrices_of_blocks(model)
        return Muon(
            matrices,
            others,
            lr=config.matrix_learning_rate,
            weight_decay=config.weight_decay,
            momentum=config.matrix_momentum,
            adam_lr=config.learning_rate,
            adam_betas=(0.9, config.adam_beta2),
            dtype=dtype,
        )
    groups = parameter_groups(model, config.weight_decay)
    # Fused: one kernel per step; torch has one for the CPU and for CUDA. Not with a scaler: the fused kernel itself
    # checks for overflows, and does not report that a step was skipped.
    return AdamW(groups, lr=config.learning_rate, betas=(0.9, config.adam_beta2), fused=dtype != torch.float16)


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups: parameters with weight decay, and biases and layer norms without. Shared weights appear once."""
    decayed: list[nn.Parameter] = []
    undecayed: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        (undecayed if name.endswith((".bias", *LAYER_NORMS)) else decayed).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": undecayed, "weight_decay": 0.0}]


def matrices_of_blocks(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The weight matrices of attention and MLP, and everything else: embeddings, biases, layer norms."""
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        is_matrix = parameter.ndim == 2 and ".h." in name
        (matrices if is_matrix else others).append(parameter)
    return matrices, others


def build_schedule(optimizer: Optimizer, config: TrainingConfig) -> LambdaLR:
    """A schedule to be stepped once per optimizer step. Not prepared by Accelerate, which would step it once per process."""
    return LambdaLR(optimizer, lambda step: rate_factor(config, step))
