"""The models that are in memory: at most two, the least recently used goes. Knows nothing of requests or pipes."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path
from typing import Any

MAX_MODELS = 2


class LoadedModel:
    """One revision in memory, or on its way into it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.num_users = 0
        self.used_at = 0
        self.parts: tuple[Any, Any] | None = None
        """Model and tokenizer; None until they are read."""


class LoadedModels:
    """Whoever calls `reserve`, `release`, `plan` and `shrink` holds one lock; `read` needs none and takes its time."""

    def __init__(self) -> None:
        self.max_models = MAX_MODELS
        self._models: dict[Path, LoadedModel] = {}
        self._draining: set[Path] = set()
        self._clock = itertools.count(1)
        self._reading = threading.Lock()  # transformers patches torch while it reads a model: one at a time

    def plan(self) -> None:
        """Begin to reserve for all open requests anew, the most urgent first."""
        self._draining.clear()

    def reserve(self, path: Path) -> LoadedModel | None:
        """The model of `path`, kept until `release`; None when those in memory are used or somebody before waits for
        its place.
        """
        if path not in self._models and not self._make_room():
            busiest_last = sorted(self._models.values(), key=lambda model: (model.num_users, model.used_at))
            self._draining.add(busiest_last[0].path)  # else its users could follow each other for ever
            return None
        if path in self._draining:
            return None
        model = self._models.setdefault(path, LoadedModel(path))
        model.num_users += 1
        model.used_at = next(self._clock)
        return model

    def release(self, model: LoadedModel) -> None:
        model.num_users -= 1
        if not model.num_users and model.parts is None:  # it could not be read
            self._models.pop(model.path, None)

    def shrink(self) -> bool:
        """Keep one model from now on, because two do not fit into memory. False when there is only one already."""
        if len(self._models) < 2:
            return False
        self.max_models = 1
        return True

    def read(self, model: LoadedModel) -> tuple[Any, Any]:
        """Model and tokenizer, on the GPU where there is one. Raises what `loading.load` does."""
        import torch

        from pipeline.generation.loading import load

        with self._reading:
            if model.parts is None:
                weights, tokenizer = load(model.path)
                device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
                model.parts = (weights.to(device), tokenizer)  # type: ignore[arg-type]  # its wrapper hides the type
            return model.parts

    def _make_room(self) -> bool:
        """Unload models that nobody uses until one more may be loaded; whether that was enough."""
        unused = sorted((m for m in self._models.values() if not m.num_users), key=lambda model: model.used_at)
        while len(self._models) >= self.max_models and unused:
            del self._models[unused.pop(0).path]
        return len(self._models) < self.max_models
