"""What a checkpoint holds beside the model: optimizer, schedule, random generators. With it, a resumed run is the same
to the bit, dropout included.

Written as torch files and read with `weights_only=True`, so that a file from elsewhere can run nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor

from pipeline.core.errors import InputError

RandomState = dict[str, Tensor]


class TrainingState:
    """The parts of a run that change from step to step and are not the model."""

    def __init__(self, accelerator: Accelerator, **parts: Any) -> None:
        """`parts`: by name, everything with `state_dict` and `load_state_dict`. The scaler of fp16 is added to them."""
        self._accelerator = accelerator
        self._copies = Copies()
        self._parts = {**parts, **({"scaler": accelerator.scaler} if accelerator.scaler else {})}

    def snapshot(self) -> Callable[[Path], None]:
        """What writes everything as it is now into a new folder, whenever that is called before the next snapshot. All ranks
        must call this.
        """
        random_states = gather_object([random_state(self._accelerator.device)])
        states = {name: part.state_dict() for name, part in self._parts.items()}
        if self._accelerator.is_main_process:  # the others write nothing
            states = self._copies.of(states)

        def save(folder: Path) -> None:
            folder.mkdir()
            for name, state in {**states, "random": random_states}.items():
                torch.save(state, folder / f"{name}.pt")

        return save

    def load(self, folder: Path) -> None:
        """Read everything but the random generators back; each rank does this."""
        for name, part in self._parts.items():
            path = folder / f"{name}.pt"
            if name == "position" and not path.exists():  # written before there were roll-backs
                continue
            part.load_state_dict(_read(path))


class Copies:
    """Copies on the CPU of values that come again and again, in memory that is used again: fresh memory of a gigabyte
    takes longer to get than to fill. So a copy is good until the next one.
    """

    def __init__(self) -> None:
        self._kept: list[Tensor] = []

    def of(self, value: Any) -> Any:
        """`value` with every tensor in it copied, however deep; two that share their memory share the copy's."""
        copies: dict[tuple[int, torch.Size], Tensor] = {}
        places = itertools.count()

        def copy(value: Any) -> Any:
            if isinstance(value, Tensor):
                key = (value.data_ptr(), value.shape)
                if key not in copies or not value.numel():
                    copies[key] = self._filled(next(places), value.detach())
                return copies[key]
            if isinstance(value, dict):
                return type(value)((name, copy(item)) for name, item in value.items())
            if isinstance(value, (list, tuple)):
                return type(value)(copy(item) for item in value)
            return value

        return copy(value)

    def _filled(self, place: int, value: Tensor) -> Tensor:
        """The kept memory of this place, or other memory where the value of this place has another shape now."""
        if place == len(self._kept):
            self._kept.append(torch.empty(0))
        kept = self._kept[place]
        if (kept.shape, kept.dtype) != (value.shape, value.dtype):
            kept = self._kept[place] = torch.empty_like(value, device="cpu")
        return kept.copy_(value)


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
    set_random_state(states[accelerator.process_index], accelerator.device)


def set_random_state(state: RandomState, device: torch.device) -> None:
    """Inverse of `random_state`."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)


def _read(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=True)
