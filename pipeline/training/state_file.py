"""Writes and reads a nested state (of an optimizer, a schedule, random generators) as `NAME.json` and, where it has
tensors, `NAME.safetensors`: formats that cannot run code, so that a state may come from the Hub.

In the JSON, a tensor is `{"tensor": "3"}`, its name in the other file; a tuple is `{"tuple": [...]}`; a dict is
`{"dict": [[key, value], ...]}`, as its keys may be numbers. A float that JSON lacks is `{"float": "nan"}`.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from pipeline.core.atomic_io import read_json, write_json
from pipeline.core.errors import DamagedError

Named = dict[int, tuple[str, Tensor]]
"""Identity of a tensor -> its name in the file, and itself."""


def write_state(folder: Path, name: str, state: Any) -> None:
    """`state`: dicts, lists, tuples, tensors and JSON values, nested. Raises TypeError for anything else."""
    tensors: Named = {}
    write_json(folder / f"{name}.json", {"state": _plain(state, tensors)})
    if tensors:
        save_file(dict(tensors.values()), folder / f"{name}.safetensors")


def has_state(folder: Path, name: str) -> bool:
    return any((folder / f"{name}{suffix}").exists() for suffix in (".json", ".pt"))


def read_state(folder: Path, name: str) -> Any:
    """What `write_state` has written, tensors on the CPU. Raises DamagedError when it is missing or not well formed.

    Also reads the torch file of checkpoints from before this format, with `weights_only`.
    """
    path = folder / f"{name}.json"
    older = folder / f"{name}.pt"
    if not path.exists() and older.exists():
        return torch.load(older, map_location="cpu", weights_only=True)
    tensors = folder / f"{name}.safetensors"
    try:
        return _nested((read_json(path) or {})["state"], load_file(tensors) if tensors.exists() else {})
    except (KeyError, TypeError, ValueError, SafetensorError) as error:
        raise DamagedError(
            f"{path} does not hold a state ({type(error).__name__}: {error}); resume from another checkpoint."
        ) from error


def _plain(value: Any, tensors: Named) -> Any:
    """`value` for JSON; adds its tensors to `tensors`."""
    if isinstance(value, Tensor):
        return {"tensor": tensors.setdefault(id(value), (str(len(tensors)), value))[0]}
    if isinstance(value, dict):
        return {"dict": [[key, _plain(item, tensors)] for key, item in value.items()]}
    if isinstance(value, tuple):
        return {"tuple": [_plain(item, tensors) for item in value]}
    if isinstance(value, list):
        return [_plain(item, tensors) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"a state holds a {type(value).__name__}, which has no form in a checkpoint")


def _nested(value: Any, tensors: dict[str, Tensor]) -> Any:
    """Inverse of `_plain`."""
    if isinstance(value, list):
        return [_nested(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: _nested(item, tensors) for key, item in content}
    if kind == "tuple":
        return tuple(_nested(item, tensors) for item in content)
    if kind == "float":
        return float(content)
    raise ValueError(f"unknown kind {kind!r}")
