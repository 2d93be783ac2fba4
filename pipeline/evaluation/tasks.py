"""The tasks with which a model's code is tried, read from assets/tasks/*.toml: one file for each library.

A task is a prompt in the manner of the course's, and a check. `prompt + completion` and then the check are run as one
program; the task is solved if nothing raises. The reference solution must pass, and each mutant must fail.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pipeline.core.errors import DamagedError
from pipeline.core.paths import ASSETS

FOLDER = ASSETS / "tasks"
MAX_LINES = 5


@dataclass(frozen=True, kw_only=True)
class CodeTask:
    name: str
    library: str
    """numpy, pandas, matplotlib, seaborn or sklearn."""
    prompt: str
    max_lines: int
    """Lines of a completion that are run, blank ones not counted."""
    check: str
    solution: str
    mutants: tuple[str, ...]

    @property
    def is_function(self) -> bool:
        """Whether the prompt ends within a function, whose body is to be written."""
        last = self.prompt.rstrip("\n").rpartition("\n")[2]
        return last.startswith((" ", "\t"))

    def cut(self, completion: str) -> str:
        """The part of a completion that is run: its first `max_lines` lines, and no more than the function's body."""
        kept: list[str] = []
        num_lines = 0
        for number, line in enumerate(completion.split("\n")):
            is_outside = self.is_function and bool(line.strip()) and not line.startswith((" ", "\t"))
            if num_lines == self.max_lines or (is_outside and (number or self.prompt.endswith("\n"))):
                break
            kept.append(line)
            num_lines += bool(line.strip())
        return "\n".join(kept).rstrip("\n")

    def program(self, completion: str) -> str:
        return f"{self.prompt}{self.cut(completion)}\n"


@cache
def tasks(folder: Path = FOLDER) -> tuple[CodeTask, ...]:
    """All tasks, in the order of their libraries and files. Raises DamagedError when a file is not as described."""
    found = [task for path in sorted(folder.glob("*.toml")) for task in _read(path)]
    names = [task.name for task in found]
    if twice := {name for name in names if names.count(name) > 1}:
        raise DamagedError(f"{folder} has two tasks named {sorted(twice)[0]}; rename one of them.")
    return tuple(found)


def _read(path: Path) -> list[CodeTask]:
    try:
        rows = tomllib.loads(path.read_text(encoding="utf-8"))["task"]
        return [CodeTask(library=path.stem, **{**row, "mutants": tuple(row["mutants"])}) for row in rows]
    except (tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise DamagedError(f"{path} is not a list of tasks ({error}); see pipeline/evaluation/tasks.py.") from error
