"""Checkpoints that are complete or absent: staged, synced, hashed, renamed; the old ones go last.

A checkpoint is `checkpoints/step-00000500/` with a manifest.json that names every file with size and SHA-256. Knows
nothing of torch: what is in a checkpoint is written by whoever saves it.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline import manifest
from pipeline.errors import DamagedError
from pipeline.files import iterate_lines, read_json, sync
from pipeline.folders import RunFolder

NAME = re.compile(r"step-(\d{8,})")
Writer = Callable[[Path], None]
"""Fills an empty folder with the files of a checkpoint."""


@dataclass(frozen=True)
class Newest:
    """The newest checkpoint that verifies, and why newer ones were passed over."""

    path: Path | None
    step: int
    """0 without a checkpoint."""
    damaged: tuple[DamagedError, ...]


def save(run: RunFolder, step: int, write: Writer, *, keep: int) -> Path:
    """Let `write` fill an empty folder, then make it the checkpoint of `step` in one rename.

    A kill at any instant leaves the checkpoints that were there, and this one either complete or not at all. One that
    is there for the same step already is replaced. Afterwards only the newest `keep` stay (see `rotate`).
    """
    final = run.checkpoint(step)
    run.checkpoints.mkdir(parents=True, exist_ok=True)
    _clear_leftovers(run)
    staging = run.checkpoints / f".staging-{final.name}"
    staging.mkdir()
    write(staging)
    manifest.seal(staging, step)
    if final.exists():
        _remove(final)
    staging.rename(final)
    sync(run.checkpoints)
    rotate(run, keep=keep)
    return final


def verify(checkpoint: Path) -> None:
    """Raises DamagedError, naming the file, unless every file is what the manifest says."""
    found = read_json(checkpoint / manifest.NAME)
    if found is None:
        raise _damaged(checkpoint, "it has no manifest.json")
    if found.get("format") != manifest.FORMAT or found.get("step") != _step(checkpoint):
        raise _damaged(checkpoint, "its manifest.json is of another format or another step")
    entries = manifest.entries_of(found)
    if entries is None:
        raise _damaged(checkpoint, "its manifest.json names no files that could be its own")
    if fault := manifest.fault(checkpoint, entries):
        raise _damaged(checkpoint, fault)


def newest_valid(run: RunFolder) -> Newest:
    """The newest checkpoint that verifies. Raises DamagedError when there are some and none does."""
    damaged = []
    for path in reversed(complete(run)):
        try:
            verify(path)
        except DamagedError as error:
            damaged.append(error)
        else:
            return Newest(path, _step(path), tuple(damaged))
    if damaged:
        reason = str(damaged[0]).partition(": ")[2].partition(";")[0]
        raise DamagedError(f"Run {run.id} has no checkpoint left that can be read ({reason}); start a new run.")
    return Newest(None, 0, ())


def complete(run: RunFolder) -> list[Path]:
    """The run's checkpoints, oldest first."""
    if not run.checkpoints.is_dir():
        return []
    found = [path for path in run.checkpoints.iterdir() if NAME.fullmatch(path.name) and path.is_dir()]
    return sorted(found, key=_step)


def set_aside_after(run: RunFolder, step: int) -> None:
    """Hide the damaged checkpoints of later steps: training goes on from `step` and comes to them again."""
    for path in complete(run):
        if _step(path) > step:
            path.rename(path.with_name(f".damaged-{path.name}"))


def rotate(run: RunFolder, *, keep: int) -> None:
    """Delete all but the newest `keep`, sparing those the publisher has not linked into the registry yet."""
    linked = {row.get("step") for row in iterate_lines(run.pushes)}
    for path in complete(run)[:-keep]:
        if _step(path) in linked:
            _remove(path)


def _remove(checkpoint: Path) -> None:
    """Out of sight in one rename first, so that no reader takes half a folder for a checkpoint."""
    hidden = checkpoint.with_name(f".removed-{checkpoint.name}")
    checkpoint.rename(hidden)
    shutil.rmtree(hidden)


def _clear_leftovers(run: RunFolder) -> None:
    """What a killed trainer was writing or removing, and what was set aside. Only the trainer writes here, and it holds the run's lock."""
    for path in run.checkpoints.glob(".*-step-*"):
        shutil.rmtree(path)


def _step(checkpoint: Path) -> int:
    match = NAME.fullmatch(checkpoint.name)
    assert match, checkpoint
    return int(match[1])


def _damaged(checkpoint: Path, reason: str) -> DamagedError:
    return DamagedError(f"Checkpoint {checkpoint.name} is damaged: {reason}; the one before it is used.")
