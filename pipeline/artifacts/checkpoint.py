"""Opens, verifies and finds checkpoints, folders `checkpoints/step-00000500/` with sizes and SHA-256 in manifest.json.

Only training writes checkpoints (`training.checkpoints`). Does not depend on torch or the Hub.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from pipeline.artifacts import manifest
from pipeline.core import atomic_io
from pipeline.core.errors import DamagedError
from pipeline.core.paths import RunFolder

PROVENANCE = "provenance.json"
FOLDER = re.compile(r"step-(\d{8,})")
STATE = "training/"
"""Folder of the optimizer, schedule and random state, needed only to resume the run."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint's manifest and provenance; `verify` compares the manifest with the files."""

    path: Path
    run: str
    step: int
    files: dict[str, dict[str, Any]]
    """Relative path -> sha256 and size, of the files that a revision contains: all except the training state."""
    provenance: dict[str, Any]

    @classmethod
    def open(cls, path: Path) -> Checkpoint:
        """Raises DamagedError when the manifest or the provenance is missing, torn, incomplete or of another step."""
        found = atomic_io.read_json(path / manifest.NAME)
        provenance = atomic_io.read_json(path / PROVENANCE)
        if found is None or provenance is None:
            raise damaged(path, f"it has no {manifest.NAME if found is None else PROVENANCE}")
        entries = manifest.entries_of(found)
        if entries is None:
            raise damaged(path, f"{manifest.NAME} names no files that could be its own")
        kept = {name: entry for name, entry in entries.items() if not name.startswith(STATE)}
        try:
            checkpoint = cls(path=path, run=provenance["run"], step=found["step"], files=kept, provenance=provenance)
        except KeyError as error:
            raise damaged(path, f"{manifest.NAME} or {PROVENANCE} does not name {error}") from error
        named = FOLDER.fullmatch(path.name)
        if provenance.get("step") != checkpoint.step or (named and int(named[1]) != checkpoint.step):
            raise damaged(path, f"{manifest.NAME} is that of step {checkpoint.step}")
        return checkpoint

    @property
    def revision(self) -> str:
        """12 hexadecimal digits, a hash of run, step and files: the same weights at the same step have the same id.

        The hash excludes the provenance: the registry writes its own, and its time differs when a step is saved again.
        A step that was saved again with its validation loss is another revision, so that the loss reaches the Hub.
        """
        hashes = sorted((name, entry["sha256"]) for name, entry in self.files.items() if name != PROVENANCE)
        facts: tuple[Any, ...] = (self.run, self.step, hashes)
        if self.provenance.get("evaluated_later"):
            facts = (*facts, self.provenance.get("eval_loss"))
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:12]

    def verify(self, folder: Path) -> None:
        """Raises DamagedError, naming the file, unless every file in `folder` matches the manifest."""
        if fault := manifest.fault(folder, self.files):
            raise damaged(self.path, fault)


@dataclass(frozen=True)
class Newest:
    """The newest checkpoint that verifies, and the errors of the newer ones."""

    path: Path | None
    step: int
    """0 if there is no checkpoint."""
    damaged: tuple[DamagedError, ...]


def checkpoints_of(run: RunFolder) -> list[Path]:
    """The run's checkpoint folders, oldest first, including those without a manifest."""
    try:
        found = [path for path in run.checkpoints.iterdir() if FOLDER.fullmatch(path.name) and path.is_dir()]
    except FileNotFoundError:
        return []
    return sorted(found, key=step_of)


def complete_checkpoints(run: RunFolder) -> list[Path]:
    """The run's checkpoints that have a manifest, oldest first."""
    return [path for path in checkpoints_of(run) if (path / manifest.NAME).exists()]


def newest_valid(run: RunFolder) -> Newest:
    """The newest checkpoint that verifies. Raises DamagedError when the run has checkpoints and none verifies."""
    damaged = []
    for path in reversed(checkpoints_of(run)):
        try:
            verify(path)
        except DamagedError as error:
            damaged.append(error)
        else:
            return Newest(path, step_of(path), tuple(damaged))
    if damaged:
        reason = str(damaged[0]).partition(": ")[2].partition(";")[0]
        raise DamagedError(f"Run {run.id} has no checkpoint left that can be read ({reason}); start a new run.")
    return Newest(None, 0, ())


def best_of(run: RunFolder) -> Path | None:
    """The checkpoint with the lowest validation loss, read from provenance.json; None if no loss was measured."""
    losses = {path: atomic_io.readable_json(path / PROVENANCE).get("eval_loss") for path in checkpoints_of(run)}
    measured = {path: loss for path, loss in losses.items() if isinstance(loss, (int, float))}
    return min(measured, key=lambda path: measured[path]) if measured else None


def verify(checkpoint: Path) -> None:
    """Raises DamagedError, naming the file, unless every file can be read and matches the manifest."""
    try:
        _verify(checkpoint)
    except OSError as error:
        name = Path(error.filename).name if error.filename else "a file"
        raise damaged(checkpoint, f"{name} cannot be read ({error.strerror})") from error


def _verify(checkpoint: Path) -> None:
    try:
        found = atomic_io.read_json(checkpoint / manifest.NAME)
    except DamagedError as error:
        raise damaged(checkpoint, "its manifest.json is not JSON, or no object") from error
    if found is None:
        raise damaged(checkpoint, "it has no manifest.json")
    if found.get("format") != manifest.FORMAT or found.get("step") != step_of(checkpoint):
        raise damaged(checkpoint, "its manifest.json is of another format or another step")
    entries = manifest.entries_of(found)
    if entries is None:
        raise damaged(checkpoint, "its manifest.json names no files that could be its own")
    if fault := manifest.fault(checkpoint, entries):
        raise damaged(checkpoint, fault)


def step_of(path: Path) -> int:
    """The step in the name of a checkpoint folder."""
    match = FOLDER.fullmatch(path.name)
    assert match, path
    return int(match[1])


def saved_at(path: Path) -> int:
    """The manifest's modification time in nanoseconds, which changes when the step is saved again; 0 without one."""
    try:
        return (path / manifest.NAME).stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def revision_of(path: Path) -> str | None:
    """Id of the revision made from this checkpoint; None if it cannot be read. Cached until the manifest changes."""
    try:
        stat = (path / manifest.NAME).stat()
    except FileNotFoundError:
        return None
    return _revision_of(path, stat.st_ino, stat.st_mtime_ns, stat.st_size)


def damaged(path: Path, reason: str) -> DamagedError:
    return DamagedError(
        f"Checkpoint {path.name} of run {path.parent.parent.name} is damaged: {reason}; it is left out, and the one before it is used."
    )


@lru_cache(maxsize=1024)
def _revision_of(path: Path, inode: int, mtime_ns: int, size: int) -> str | None:
    try:
        return Checkpoint.open(path).revision
    except DamagedError:
        return None  # `Registry.add` raises the reason
