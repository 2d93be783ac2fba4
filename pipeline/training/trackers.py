"""Writes a run's metrics through Accelerate's trackers: always to the run folder, optionally to others.

An error in another tracker is logged once and drops that tracker; training continues. An error in the run folder is
raised.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker

from pipeline.config.schema import RunConfig
from pipeline.core.atomic_io import append_line
from pipeline.core.paths import RunFolder

PROJECT = "codeparrot-studio"


class RunFolderTracker(GeneralTracker):
    """Writes metrics.jsonl, which the page and the command line read."""

    name = "run folder"
    requires_logging_directory = False

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    @property
    def tracker(self) -> Path:
        return self._path

    def log(self, values: dict[str, Any], step: int | None = None, **_: Any) -> None:
        append_line(self._path, {"step": step, **values})


class Trackers:
    def __init__(self, own: GeneralTracker, others: list[GeneralTracker], say: Callable[[str], None]) -> None:
        self._own = own
        self._others = others
        self._say = say

    @classmethod
    def open(cls, folder: RunFolder, config: RunConfig, say: Callable[[str], None]) -> Trackers:
        """Start the trackers that `config` names. One that cannot start is logged and left out."""
        trackers = cls(RunFolderTracker(folder.metrics), [], say)
        facts = _flat(config.to_dict())
        for name in config.training.trackers:
            tracker = _new(name, folder)
            if trackers._succeeds(tracker, lambda tracker=tracker: _start(tracker, facts)):  # type: ignore[misc]
                trackers._others.append(tracker)
        return trackers

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """Write one row."""
        self._own.log(dict(values), step=step)
        numbers = {name: value for name, value in values.items() if value is not None}
        self._others = [
            tracker
            for tracker in self._others
            if self._succeeds(tracker, lambda tracker=tracker: tracker.log(numbers, step=step))  # type: ignore[misc]
        ]

    def close(self) -> None:
        for tracker in self._others:
            self._succeeds(tracker, tracker.finish)

    def _succeeds(self, tracker: GeneralTracker, work: Callable[[], object]) -> bool:
        try:
            work()
        except Exception as error:  # any error of a third-party library or service: it must not fail the run
            self._say(f"{tracker.name} is left out from here on ({type(error).__name__}: {error})")
            return False
        return True


def _new(name: str, folder: RunFolder) -> GeneralTracker:
    kind = LOGGER_TYPE_TO_CLASS[name]
    if name == "tensorboard":
        return kind(folder.path.name, logging_dir=folder.path.parent.parent / "tensorboard")
    if name == "wandb":
        return kind(PROJECT, name=folder.id, dir=str(folder.path), mode="offline")  # the trainer has no API key
    return kind(PROJECT, name=folder.id)


def _start(tracker: GeneralTracker, facts: dict[str, Any]) -> None:
    tracker.start()
    tracker.store_init_configuration(facts)


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested settings into one level of text, numbers and booleans."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{name}/")
        else:
            plain = isinstance(value, (str, int, float, bool))
            found[prefix + name] = value if plain else str(value)
    return found
