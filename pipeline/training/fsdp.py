"""A model sharded over the processes (FSDP2): configured, verified, gathered for a checkpoint and restored from one.

Needs CUDA; on a CPU Accelerate would silently train full copies instead. Not run on CUDA yet.
"""

from __future__ import annotations

from typing import Any

from accelerate import Accelerator
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)

from pipeline.config.schema import TrainingConfig
from pipeline.core.errors import InputError

BLOCK = "GPT2Block"
"""The module class that is sharded, and gathered for a pass, as one unit."""
INSIDE = "model."
"""Prefix of the model's weight names inside NextTokenLoss."""
WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)


def sharding_plugin(config: TrainingConfig) -> FullyShardedDataParallelPlugin | None:
    """The plugin with which Accelerate shards the model; None without sharding."""
    if config.sharding == "none":
        return None
    return FullyShardedDataParallelPlugin(
        fsdp_version=2,
        auto_wrap_policy="transformer_based_wrap",
        transformer_cls_names_to_wrap=[BLOCK],
        state_dict_type="FULL_STATE_DICT",
        cpu_ram_efficient_loading=False,
    )


def check_sharding(config: TrainingConfig, accelerator: Accelerator) -> None:
    """Raises InputError when the configuration requests sharding but the model is not sharded."""
    if config.sharding == "fsdp2" and not is_sharded(accelerator):
        kind = accelerator.distributed_type.value
        raise InputError(
            f"sharding is 'fsdp2', but {accelerator.num_processes} process(es) on {accelerator.device.type} train as "
            f"{kind}; start several processes with a CUDA GPU each, or set sharding none."
        )


def is_sharded(accelerator: Accelerator) -> bool:
    return accelerator.distributed_type == DistributedType.FSDP and accelerator.is_fsdp2


class ShardedOptimizer:
    """A sharded optimizer whose state is saved unsharded, on the CPU of rank 0. All ranks must call it."""

    def __init__(self, model: nn.Module, optimizer: Any) -> None:
        self._model = model
        self._optimizer = getattr(optimizer, "optimizer", optimizer)  # unwrap Accelerate's

    def state_dict(self) -> dict[str, Any]:
        return get_optimizer_state_dict(self._model, self._optimizer, options=WHOLE)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        set_optimizer_state_dict(self._model, self._optimizer, state, options=StateDictOptions(full_state_dict=True))


def whole_weights(model: nn.Module) -> dict[str, Any]:
    """The unsharded weights of the model in a NextTokenLoss, on the CPU of rank 0. All ranks must call it."""
    return {name.removeprefix(INSIDE): value for name, value in get_model_state_dict(model, options=WHOLE).items()}


def set_weights(model: nn.Module, weights: dict[str, Any]) -> None:
    """Inverse of `whole_weights`. Every rank passes all weights."""
    named = {INSIDE + name: value for name, value in weights.items()}
    set_model_state_dict(model, named, options=StateDictOptions(full_state_dict=True, strict=False))
