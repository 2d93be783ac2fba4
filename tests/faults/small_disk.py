"""Runs on a disk that fills up: `unshare -Urm python -m tests.faults.small_disk TEMPLATE DISK`.

Reads lines of the form PLANT FREE and answers each with a line of JSON. A trial mounts a tmpfs on DISK, in its own
mount namespace, copies the home TEMPLATE onto it, leaves FREE bytes free and trains until the disk is full. It then
enlarges the disk and resumes. PLANT is the name of a bug, or `none`.
"""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.artifacts.checkpoint import checkpoints_of, verify
from pipeline.core.atomic_io import read_lines
from pipeline.core.errors import DamagedError
from pipeline.core.paths import Home, RunFolder
from tests.faults import bugs, trials
from tests.training.runs import ask_to_resume, new_run, status

ROOM = "64m"


@dataclass(frozen=True)
class Full:
    """One run with `free` bytes of disk, and the result after it was resumed with enough."""

    free: int
    exit_status: int
    state: str | None
    said: list[str]
    """Lines of the log from the first error line on."""
    error: str | None
    """The error in status.json."""
    hidden: list[str]
    """Names of the hidden leftovers in the run folder."""
    steps: list[int]
    """Steps of the checkpoints that verify."""
    damaged: list[str]
    reached: int
    """Step of the last metrics row."""
    outcome: dict[str, Any]
    """Outcome of the resumed run."""


def main(template: str, disk: str) -> None:
    trials.FORKS = multiprocessing.get_context("fork")  # this process has no threads, and has torch loaded
    for line in sys.stdin:
        plant, free = line.split()
        print(json.dumps(dataclasses.asdict(_trial(Path(template), Path(disk), plant, int(free)))), flush=True)


def _trial(template: Path, disk: Path, plant: str, free: int) -> Full:
    _mount(disk, ROOM)
    try:
        folder = new_run(Home(Path(shutil.copytree(template, disk / "home"))), **trials.RUN)
        folder.log.touch()
        _mount(disk, str(shutil.disk_usage(disk).used + free), remount=True)
        exit_status = trials.finish(folder, bugs.BY_NAME.get(plant))
        found = _found(folder)
        _mount(disk, ROOM, remount=True)
        ask_to_resume(folder)
        if exit_status:
            trials.finish(folder)
        return Full(free=free, exit_status=exit_status, **found, outcome=_outcome(folder))
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def _found(folder: RunFolder) -> dict[str, Any]:
    steps, damaged = [], []
    for path in checkpoints_of(folder):
        try:
            verify(path)
        except DamagedError as error:
            damaged.append(str(error))
        else:
            steps.append(int(path.name.removeprefix("step-")))
    now, rows = status(folder), read_lines(folder.metrics)
    return {
        "state": now.get("state"),
        "error": now.get("error"),
        "said": _unusual(folder.log.read_text().splitlines()),
        "hidden": trials.hidden(folder),
        "steps": steps,
        "damaged": damaged,
        "reached": rows[-1]["step"] if rows else 0,
    }


def _unusual(lines: list[str]) -> list[str]:
    """The lines of a log from the first error line on."""
    first = next((n for n, line in enumerate(lines) if line.startswith(("Run ", "Traceback"))), len(lines))
    return lines[first:]


def _outcome(folder: RunFolder) -> dict[str, Any]:
    try:
        return json.loads(json.dumps(dataclasses.asdict(trials.outcome(folder))))
    except AssertionError as error:
        return {"failed": str(error)}


def _mount(disk: Path, size: str, *, remount: bool = False) -> None:
    options = f"size={size}" + (",remount" if remount else "")
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)], check=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
