"""Which stages of a preparation are complete, so that a resumed one goes on behind them.

`stages.json` holds the configuration they were made with; another configuration finds none of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from pipeline.files import read_json, write_json


class Stages:
    """The stages of the corpus in `folder`, made with `config` (as JSON holds it)."""

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        self._folder = folder
        self._path = folder / "stages.json"
        known = read_json(self._path) or {}
        same = known.get("config") == config
        self._value: dict[str, Any] = known if same else {"config": config, "done": {}}

    @property
    def seconds(self) -> float:
        """What the complete stages took, also in earlier processes."""
        return sum(facts["seconds"] for facts in self._value["done"].values())

    def is_done(self, name: str) -> bool:
        """Whether the stage is complete and what it wrote is still there, in its size."""
        facts = self._value["done"].get(name)
        return facts is not None and facts["files"] == _sizes(self._folder, facts["files"])

    def run(self, name: str, work: Callable[[], tuple[dict[str, Any], Iterable[str]]]) -> dict[str, Any]:
        """What the stage found. `work` returns that and the files it wrote; it is left out when it was done before."""
        if not self.is_done(name):
            started = time.monotonic()
            found, files = work()
            seconds = round(time.monotonic() - started, 3)
            self._value["done"][name] = {"found": found, "files": _sizes(self._folder, files), "seconds": seconds}
            write_json(self._path, self._value)
        return self._value["done"][name]["found"]


def _sizes(folder: Path, names: Iterable[str]) -> dict[str, int | None]:
    paths = {name: folder / name for name in names}
    return {name: path.stat().st_size if path.exists() else None for name, path in paths.items()}
