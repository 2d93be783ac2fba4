"""The part of a checkpoint besides the model: optimizer, schedule, random generators. It makes a resumed run
bit-identical, dropout included.

`state_file` has the format.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor

from pipeline.core.errors import InputError
from pipeline.training.state_file import has_state, read_state, write_state

RandomState = dict[str, Tensor]


@dataclass
class DataOffset:
    """How far the position in the data is ahead of the step, after roll-backs past windows on which the run diverged."""

    skipped_steps: int = 0
    """Number of steps whose windows were skipped."""
    rollbacks: int = 0

    def state_dict(self) -> dict[str, int]:
        return asdict(self)

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.skipped_steps, self.rollbacks = state["skipped_steps"], state["rollbacks"]


class TrainingState:
    """The parts of a run, other than the model, that change from step to step."""

    def __init__(self, accelerator: Accelerator, **parts: Any) -> None:
        """`parts`: by name, objects with `state_dict` and `load_state_dict`. The scaler of fp16 is added to them."""
        self._accelerator = accelerator
        self._copies = Copies()
        self._parts = {**parts, **({"scaler": accelerator.scaler} if accelerator.scaler else {})}

    def snapshot(self) -> Callable[[Path], None]:
        """Copy the current state. Returns a function that writes it into a new folder; call it before the next
        snapshot.

        All ranks must call this method.
        """
        random_states = gather_object([random_state(self._accelerator.device)])
        states = {name: part.state_dict() for name, part in self._parts.items()}
        if self._accelerator.is_main_process:  # the other ranks write nothing
            states = self._copies.of(states)

        def save(folder: Path) -> None:
            folder.mkdir()
            for name, state in {**states, "random": random_states}.items():
                write_state(folder, name, state)

        return save

    def load(self, folder: Path) -> None:
        """Restore everything but the random generators. Each rank calls it."""
        for name, part in self._parts.items():
            # Absent in a checkpoint that is older than roll-backs, or was written without fp16, as on another device.
            if name in ("position", "scaler") and not has_state(folder, name):
                continue
            part.load_state_dict(read_state(folder, name))


class Copies:
    """Copies nested tensors to the CPU into reused buffers: allocating a new gigabyte takes longer than filling it.

    A copy is valid until the next one.
    """

    def __init__(self) -> None:
        self._buffers: list[Tensor] = []

    def of(self, value: Any) -> Any:
        """`value` with every tensor in it copied, at any depth. Tensors that share memory share one copy."""
        copies: dict[tuple[int, torch.Size], Tensor] = {}
        indices = itertools.count()

        def copy(value: Any) -> Any:
            if isinstance(value, Tensor):
                key = (value.data_ptr(), value.shape)
                if key not in copies or not value.numel():
                    copies[key] = self._copy_into_buffer(next(indices), value.detach())
                return copies[key]
            if isinstance(value, dict):
                return type(value)((name, copy(item)) for name, item in value.items())
            if isinstance(value, (list, tuple)):
                return type(value)(copy(item) for item in value)
            return value

        return copy(value)

    def _copy_into_buffer(self, index: int, value: Tensor) -> Tensor:
        """Copy `value` into the buffer at `index`. Replaces the buffer if the shape or dtype has changed."""
        if index == len(self._buffers):
            self._buffers.append(torch.empty(0))
        buffer = self._buffers[index]
        if (buffer.shape, buffer.dtype) != (value.shape, value.dtype):
            buffer = self._buffers[index] = torch.empty_like(value, device="cpu")
        return buffer.copy_(value)


def random_state(device: torch.device) -> RandomState:
    """States of the generators that dropout draws from."""
    cuda = {"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {}
    return {"cpu": torch.get_rng_state(), **cuda}


def restore_random_state(folder: Path, accelerator: Accelerator) -> None:
    """Set this rank's random generators to those in `folder`. Raises InputError for a different number of processes."""
    states: list[RandomState] = read_state(folder, "random")
    if len(states) != accelerator.num_processes:
        raise InputError(
            f"The run was trained by {len(states)} process(es) and would go on with {accelerator.num_processes}; "
            f"start it with {len(states)} again."
        )
    set_random_state(states[accelerator.process_index], accelerator.device)


def set_random_state(state: RandomState, device: torch.device) -> None:
    """Inverse of `random_state`."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
