"""A folder's list of its own files, each with size and SHA-256: how a checkpoint or a revision proves that it is whole.

    {"format": 1, "step": 500, "files": {"model.safetensors": {"sha256": "...", "size": 17213456}}}

Knows nothing of torch or the Hub. What a fault is called, and its remedy, is said by whoever asks.
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
    """What a manifest says of one file."""
    return {"sha256": atomic_io.sha256(path), "size": path.stat().st_size}


def write(folder: Path, step: int, entries: Entries) -> None:
    atomic_io.write_json(folder / NAME, {"format": FORMAT, "step": step, "files": entries})


def seal(folder: Path, step: int) -> None:
    """Write the manifest of everything in `folder`, and make all of it survive a power cut."""
    paths = sorted(folder.rglob("*"))
    for path in paths:
        atomic_io.sync(path)
    write(folder, step, {path.relative_to(folder).as_posix(): entry(path) for path in paths if path.is_file()})


def entries_of(manifest: dict[str, Any]) -> Entries | None:
    """The files that a manifest names; None when it names none, or not with size and SHA-256, or some outside of it."""
    entries = manifest.get("files")
    if not isinstance(entries, dict) or not entries:
        return None
    sound = all(
        isinstance(facts, dict)
        and isinstance(facts.get("size"), int)
        and isinstance(facts.get("sha256"), str)
        and _stays_inside(name)
        for name, facts in entries.items()
    )
    return entries if sound else None


def fault(folder: Path, entries: Entries) -> str | None:
    """The first file that is not as its entry says, in words; None when all are. Cheapest first: sizes, then hashes."""
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
