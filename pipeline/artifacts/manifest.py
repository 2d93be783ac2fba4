"""A folder's list of its own files, each with size and SHA-256, to verify that a checkpoint or a revision is complete.

    {"format": 1, "step": 500, "files": {"model.safetensors": {"sha256": "...", "size": 17213456}}}

Does not depend on torch or the Hub. The caller turns a fault into an error with a remedy.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.core import atomic_io

NAME = "manifest.json"
FORMAT = 1
Entries = dict[str, dict[str, Any]]
"""Relative path -> sha256 and size in bytes."""


def entry(path: Path) -> dict[str, Any]:
    """The manifest entry of one file."""
    return {"sha256": atomic_io.sha256(path), "size": path.stat().st_size}


def write(folder: Path, step: int, entries: Entries) -> None:
    atomic_io.write_json(folder / NAME, {"format": FORMAT, "step": step, "files": entries})


def seal(folder: Path, step: int) -> None:
    """Sync every file in `folder` to disk, then write the manifest of them all: the folder survives a power cut."""
    paths = sorted(folder.rglob("*"))
    for path in paths:
        atomic_io.sync(path)
    write(folder, step, {path.relative_to(folder).as_posix(): entry(path) for path in paths if path.is_file()})


def entries_of(manifest: dict[str, Any]) -> Entries | None:
    """A manifest's file entries; None if there are none, or one has no size or SHA-256, or is outside the folder."""
    entries = manifest.get("files")
    if not isinstance(entries, dict) or not entries:
        return None
    is_valid = all(
        isinstance(facts, dict)
        and isinstance(facts.get("size"), int)
        and isinstance(facts.get("sha256"), str)
        and _stays_inside(name)
        for name, facts in entries.items()
    )
    return entries if is_valid else None


def fault(folder: Path, entries: Entries) -> str | None:
    """Describe the first file that does not match its entry; None if all match. Checks sizes first, then hashes."""
    for name, facts in entries.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != facts["size"]:
            return f"{name} has {path.stat().st_size:,} bytes, its manifest says {facts['size']:,}"
    for name, facts in entries.items():
        if atomic_io.sha256(folder / name) != facts["sha256"]:
            return f"{name} does not have the SHA-256 of its manifest"
    return None


def _stays_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and bool(path.name)
