"""AdamW with weight decay on matrices and embeddings only, by the names GPT-2 really has."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.optim import AdamW

from pipeline.config import TrainingConfig

LAYER_NORMS = ("ln_1.weight", "ln_2.weight", "ln_f.weight")
"""GPT-2 has no module called LayerNorm, so the usual `"LayerNorm.weight"` would match none of them."""


def build_optimizer(model: nn.Module, config: TrainingConfig) -> AdamW:
    """AdamW over `model`'s parameters, in one kernel per step (`fused`); torch has one for the CPU and for CUDA."""
    groups = parameter_groups(model, config.weight_decay)
    return AdamW(groups, lr=config.learning_rate, fused=True)


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups: what decays, and biases and layer norms, which do not. Shared weights appear once."""
    decayed: list[nn.Parameter] = []
    spared: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        (spared if name.endswith((".bias", *LAYER_NORMS)) else decayed).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": spared, "weight_decay": 0.0}]
