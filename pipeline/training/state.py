"""What a checkpoint holds beside the model: optimizer, schedule, random generators. With it, a resumed run is the same
to the bit, dropout included.

Written as torch files and read with `weights_only=True`, so that a file from elsewhere can run nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor

from pipeline.errors import InputError

RandomState = dict[str, Tensor]


class TrainingState:
    """The parts of a run that change from step to step and are not the model."""

    def __init__(self, accelerator: Accelerator, **parts: Any) -> None:
        """`parts`: by name, everything with `state_dict` and `load_state_dict`. The scaler of fp16 is added to them."""
        self._accelerator = accelerator
        self._parts = {**parts, **({"scaler": accelerator.scaler} if accelerator.scaler else {})}

    def gather_random_states(self) -> list[RandomState]:
        """Every rank's random generators, by rank. All ranks must call it."""
        return gather_object([random_state(self._accelerator.device)])

    def save(self, folder: Path, random_states: list[RandomState]) -> None:
        """Write everything into `folder`; rank 0 does this."""
        folder.mkdir()
        for name, part in self._parts.items():
            torch.save(part.state_dict(), folder / f"{name}.pt")
        torch.save(random_states, folder / "random.pt")

    def load(self, folder: Path) -> None:
        """Read everything but the random generators back; each rank does this."""
        for name, part in self._parts.items():
            part.load_state_dict(_read(folder / f"{name}.pt"))


def random_state(device: torch.device) -> RandomState:
    """The generators that dropout draws from."""
    cuda = {"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {}
    return {"cpu": torch.get_rng_state(), **cuda}


def restore_random_state(folder: Path, accelerator: Accelerator) -> None:
    """Set this rank's random generators to those in `folder`. Raises InputError for another number of processes."""
    states: list[RandomState] = _read(folder / "random.pt")
    if len(states) != accelerator.num_processes:
        raise InputError(
            f"The run was trained by {len(states)} process(es) and would go on with {accelerator.num_processes}; "
            f"start it with {len(states)} again."
        )
    state = states[accelerator.process_index]
    torch.set_rng_state(state["cpu"])
    if accelerator.device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], accelerator.device)


def _read(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=True)
