"""Records which stages of a preparation are complete, so that a resumed preparation continues after them.

`stages.json` has the settings that each stage was made with. A stage is not complete if its settings have changed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from pipeline.artifacts.corpus import stage_settings, stages_until
from pipeline.core.atomic_io import read_json, write_json


class Stages:
    """The stages of the corpus in `folder`, to be made with `config` (a DataConfig in JSON form)."""

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        self._folder = folder
        self._path = folder / "stages.json"
        self._config = config
        self._done: dict[str, Any] = (read_json(self._path) or {}).get("done", {})

    @property
    def seconds(self) -> float:
        """Total time of the complete stages, including those of earlier processes."""
        return sum(facts["seconds"] for facts in self._done.values())

    def is_done(self, name: str) -> bool:
        """Whether the stage is complete with these settings and its files still exist, with the same sizes."""
        facts = self._done.get(name, {})
        return facts.get("config") == stage_settings(self._config, name) and facts["files"] == _sizes(
            self._folder, facts["files"]
        )

    def run(self, name: str, work: Callable[[], tuple[dict[str, Any], Iterable[str]]]) -> dict[str, Any]:
        """The stage's facts. `work` returns them and the files it wrote; it is not called if the stage is complete."""
        if not self.is_done(name):
            self.forget(name)
            started = time.monotonic()
            found, files = work()
            self._done[name] = {
                "config": stage_settings(self._config, name),
                "found": found,
                "files": _sizes(self._folder, files),
                "seconds": round(time.monotonic() - started, 3),
            }
            write_json(self._path, {"done": self._done})
        return self._done[name]["found"]

    def forget(self, name: str) -> None:
        """Remove the stage and those after it, on disk too: what they describe is about to change."""
        before = stages_until(name)[:-1]
        self._done = {stage: facts for stage, facts in self._done.items() if stage in before}
        write_json(self._path, {"done": self._done})


def _sizes(folder: Path, names: Iterable[str]) -> dict[str, int | None]:
    paths = {name: folder / name for name in names}
    return {name: path.stat().st_size if path.exists() else None for name, path in paths.items()}
