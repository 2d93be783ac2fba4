"""An LRU cache of at most two models in memory. Does not depend on requests or pipes."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path
from typing import Any

from pipeline.core.imports import collector_paused

MAX_MODELS = 2


def _device() -> Any:
    """CUDA where a kernel runs, else the CPU: torch may see a card that it has no kernels for."""
    import torch

    try:
        if not torch.cuda.is_available():
            return torch.device("cpu")
        torch.ones(1, device="cuda").add_(1).item()
    except torch.OutOfMemoryError:
        pass  # it works, and is full: loading says so
    except (RuntimeError, AssertionError):
        return torch.device("cpu")
    return torch.device("cuda")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, on the GPU or on the CPU, where PyTorch raises a RuntimeError."""
    import torch

    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "allocate memory" in str(error)


class LoadedModel:
    """One revision that is loaded or being loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.num_users = 0
        self.used_at = 0
        self.parts: tuple[Any, Any] | None = None
        """Decoder and tokenizer; None until they are loaded."""


class LoadedModels:
    """`plan`, `reserve`, `release` and `shrink` must be called under one lock. `read` is slow and needs no lock."""

    def __init__(self, *, exact: bool = False) -> None:
        self._exact = exact
        self.max_models = MAX_MODELS
        self._models: dict[Path, LoadedModel] = {}
        self._draining: set[Path] = set()
        self._clock = itertools.count(1)
        self._reading = threading.Lock()  # transformers patches torch while it loads a model, so load one at a time

    def plan(self) -> None:
        """Start a new round: the caller then reserves again for every open request, most urgent first."""
        self._draining.clear()

    def reserve(self, path: Path) -> LoadedModel | None:
        """The model of `path`, which stays in memory until `release`. None when all loaded models are in use, or when
        this one is to be evicted for a more urgent request.
        """
        if path not in self._models and not self._evict_unused():
            by_num_users = sorted(self._models.values(), key=lambda model: (model.num_users, model.used_at))
            self._draining.add(by_num_users[0].path)  # otherwise new users could keep it in memory forever
            return None
        if path in self._draining:
            return None
        model = self._models.setdefault(path, LoadedModel(path))
        model.num_users += 1
        model.used_at = next(self._clock)
        return model

    def release(self, model: LoadedModel) -> None:
        model.num_users -= 1
        if not model.num_users and model.parts is None:  # loading failed
            self._models.pop(model.path, None)

    def shrink(self) -> bool:
        """Limit the cache to one model from now on, because two do not fit into memory. False when it has only one."""
        if len(self._models) < 2:
            return False
        self.max_models = 1
        return True

    def read(self, model: LoadedModel) -> tuple[Any, Any]:
        """Load the model for writing, and the tokenizer, on the GPU if there is one. Raises the errors of `loading.load`."""
        with collector_paused():
            from pipeline.generation.decoder import for_writing
            from pipeline.generation.loading import load

        with self._reading:
            if model.parts is None:
                weights, tokenizer = load(model.path)
                model.parts = (for_writing(weights.to(_device()), exact_only=self._exact), tokenizer)
            return model.parts

    def _evict_unused(self) -> bool:
        """Evict unused models, least recently used first, until one more may be loaded. Returns whether one may."""
        unused = sorted((m for m in self._models.values() if not m.num_users), key=lambda model: model.used_at)
        while len(self._models) >= self.max_models and unused:
            del self._models[unused.pop(0).path]
        return len(self._models) < self.max_models
