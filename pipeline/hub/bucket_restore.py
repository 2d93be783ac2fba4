"""Brings back what `bucket` has saved, after the disk of this instance was wiped."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.artifacts import manifest
from pipeline.core import atomic_io
from pipeline.core.paths import ID, Home
from pipeline.core.settings import Settings
from pipeline.hub.bucket import BUCKET, CHANGED_AT, OF_REGISTRY, SEAL, note_saved

NAME = re.compile(
    rf"corpora/{ID.pattern}|runs/{ID.pattern}/(record|checkpoint)|registry/[\w.-]+/([0-9a-f]{{12}}|rows)|gallery"
)
LAST = ("manifest.json", "request.json", *OF_REGISTRY)
"""Files that make others count."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Saved:
    """One version of a unit in the archive."""

    name: str
    path: Path
    entries: manifest.Entries
    sealed_at: float

    @property
    def num_bytes(self) -> int:
        return sum(entry["size"] for entry in self.entries.values())


def is_due(settings: Settings) -> bool:
    """Whether the archive was never looked at since this disk is in use."""
    return settings.archive is not None and not Home(settings.home).restored(BUCKET).exists()


def restore_all(settings: Settings, say: Say = lambda text: None) -> list[str]:
    """Bring back what this disk does not have; returns the names of its units. Done once for each disk.

    Raises OSError when the archive is not there. What is damaged is left out, with a line in the log.
    """
    archive, home = settings.archive, Home(settings.home)
    if archive is None or not is_due(settings):
        return []
    with atomic_io.locked(home.restore_lock):
        if not is_due(settings):
            return []
        if not archive.is_dir():
            raise FileNotFoundError(f"there is no folder {archive}")
        wanted = [saved for saved in _newest(archive) if not _is_here(home, saved)]
        total, done, restored = sum(saved.num_bytes for saved in wanted), 0, []
        for saved in wanted:
            say(f"Restoring {saved.name} from {archive}: {done / 1e6:,.0f} of {total / 1e6:,.0f} MB")
            if fault := _place(home, saved):
                print(f"{saved.name} in {archive} is damaged: {fault}; it is not restored.", file=sys.stderr)
            else:
                restored.append(saved.name)
                note_saved(home, {saved.name: saved.path.name})
            done += saved.num_bytes
        atomic_io.write_json(home.restored(BUCKET), {"restored": restored, "time": time.time()})
    return restored


def _newest(archive: Path) -> Iterator[Saved]:
    """The newest sealed version of every unit; of a run the checkpoint before the record, which makes it a run."""
    found: dict[str, Saved] = {}
    for seal in archive.rglob(SEAL):
        name = seal.parent.parent.relative_to(archive).as_posix()
        content = atomic_io.readable_json(seal)
        entries, sealed_at = manifest.entries_of(content), content.get("sealed_at")
        if entries is None or not isinstance(sealed_at, float) or not NAME.fullmatch(name):
            continue
        if not all(type(entry.get(CHANGED_AT)) is int for entry in entries.values()):
            continue
        if name not in found or found[name].sealed_at < sealed_at:
            found[name] = Saved(name, seal.parent, entries, sealed_at)
    yield from (found[name] for name in sorted(found))


def _target(home: Home, name: str) -> Path:
    """The folder in the home that the files of a unit are relative to."""
    return home.path.joinpath(*name.split("/")[: {"gallery": 1}.get(name, 2)])


def _is_here(home: Home, saved: Saved) -> bool:
    kind, *rest = saved.name.split("/")
    folder = _target(home, saved.name)
    if kind == "registry":
        return rest[1] != "rows" and (folder / rest[1]).exists()
    if kind == "runs" and rest[1] == "checkpoint":
        return any((folder / name).exists() for name in saved.entries) or (folder / "request.json").exists()
    key = {"corpora": "manifest.json", "runs": "request.json"}.get(kind)
    return (folder / key).exists() if key else any(folder.glob("????????.json"))


def _place(home: Home, saved: Saved) -> str | None:
    """Copy the files to their places, those last that make the others count; returns what is damaged."""
    folder = _target(home, saved.name)
    staged = folder.with_name(f".restored-{folder.name}-{secrets.token_hex(4)}")
    try:
        for name in saved.entries:
            (staged / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(saved.path / name, staged / name)
        if fault := manifest.fault(staged, saved.entries):
            return fault
        for name, entry in sorted(saved.entries.items(), key=lambda item: Path(item[0]).name in LAST):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            if name in OF_REGISTRY and (folder / name).exists():
                _prepend(staged / name, folder / name)
            else:
                os.utime(staged / name, ns=(entry[CHANGED_AT],) * 2)
                (staged / name).replace(folder / name)
    except FileNotFoundError as error:
        return f"{Path(error.filename or '').name} is missing"
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return None


def _prepend(older: Path, newer: Path) -> None:
    """Put the rows of one file before those that the other has gained since the disk was wiped."""
    own = newer.read_text(encoding="utf-8")
    atomic_io.write_text(newer, older.read_text(encoding="utf-8") + own)
