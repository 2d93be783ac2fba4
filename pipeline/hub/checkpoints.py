"""A complete checkpoint as training leaves it: a folder with a manifest. Knows nothing of torch or the Hub."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline import files
from pipeline.errors import DamagedError
from pipeline.folders import RunFolder

MANIFEST = "manifest.json"
PROVENANCE = "provenance.json"
FOLDER = re.compile(r"step-(\d{8,})")
STATE = "training/"
"""Optimizer, schedule and random state: what only going on with the run needs."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What a checkpoint says of itself; `verify` compares that with its files."""

    path: Path
    run: str
    step: int
    files: dict[str, dict[str, Any]]
    """Relative path -> sha256 and size, of what belongs to a revision."""
    provenance: dict[str, Any]

    @classmethod
    def open(cls, path: Path) -> Checkpoint:
        """Raises DamagedError when the manifest or the provenance is missing, torn or of another kind."""
        manifest = files.read_json(path / MANIFEST)
        provenance = files.read_json(path / PROVENANCE)
        if manifest is None or provenance is None:
            raise damaged(path, f"it has no {MANIFEST if manifest is None else PROVENANCE}")
        try:
            kept = {name: entry for name, entry in manifest["files"].items() if not name.startswith(STATE)}
            checkpoint = cls(path=path, run=provenance["run"], step=manifest["step"], files=kept, provenance=provenance)
            sound = all(isinstance(e["size"], int) and isinstance(e["sha256"], str) for e in kept.values())
        except (KeyError, TypeError, AttributeError) as error:
            raise damaged(path, f"{MANIFEST} or {PROVENANCE} lacks what it should name ({error!r})") from error
        if not sound or not all(_stays_inside(name) for name in kept):
            raise damaged(path, f"{MANIFEST} names no files that could be its own")
        named = FOLDER.fullmatch(path.name)
        if provenance.get("step") != checkpoint.step or (named and int(named[1]) != checkpoint.step):
            raise damaged(path, f"{MANIFEST} is that of step {checkpoint.step}")
        return checkpoint

    @property
    def revision(self) -> str:
        """12 hexadecimal digits over run, step and files: the same weights at the same step have the same id.

        The provenance stays out of it: the registry writes its own, and its time differs when a step is saved again.
        """
        hashes = sorted((name, entry["sha256"]) for name, entry in self.files.items() if name != PROVENANCE)
        return hashlib.sha256(repr((self.run, self.step, hashes)).encode()).hexdigest()[:12]

    def verify(self, folder: Path) -> None:
        """Raises DamagedError, naming the file, unless `folder` holds every file as the manifest says."""
        for name, entry in self.files.items():
            path = folder / name
            if not path.is_file():
                raise damaged(self.path, f"{name} is missing")
            size = path.stat().st_size
            if size != entry["size"]:
                raise damaged(self.path, f"{name} has {size:,} bytes instead of {entry['size']:,}")
            if files.sha256(path) != entry["sha256"]:
                raise damaged(self.path, f"{name} does not have the SHA-256 of its manifest")


def complete_checkpoints(run: RunFolder) -> list[Path]:
    """The run's checkpoints that have a manifest, oldest first. One without is still being written: no checkpoint."""
    try:
        found = [path for path in run.checkpoints.iterdir() if FOLDER.fullmatch(path.name)]
    except FileNotFoundError:
        return []
    return sorted((path for path in found if (path / MANIFEST).exists()), key=step_of)


def step_of(path: Path) -> int:
    """The step that a checkpoint's folder name tells."""
    match = FOLDER.fullmatch(path.name)
    assert match, path
    return int(match[1])


def saved_at(path: Path) -> int:
    """When the checkpoint's manifest was written, in nanoseconds: another time, another saving of the step."""
    try:
        return (path / MANIFEST).stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def revision_of(path: Path) -> str | None:
    """Id of the revision this checkpoint makes; None when it cannot say. Reads a manifest once, however often asked."""
    try:
        stat = (path / MANIFEST).stat()
    except FileNotFoundError:
        return None
    return _revision_of(path, stat.st_ino, stat.st_mtime_ns, stat.st_size)


def damaged(path: Path, reason: str) -> DamagedError:
    return DamagedError(
        f"Checkpoint {path.name} of run {path.parent.parent.name} is damaged: {reason}; it is left out, use another."
    )


@lru_cache(maxsize=1024)
def _revision_of(path: Path, inode: int, mtime_ns: int, size: int) -> str | None:
    try:
        return Checkpoint.open(path).revision
    except DamagedError:
        return None  # whoever adds it to the registry is told why


def _stays_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and bool(path.name)
