"""Brings back what `bucket` has saved, after the disk of this instance was wiped.

A unit is built and verified in the folder `.restoring` of the home, and gets to its place by one rename: after a kill it
is there whole, or not at all. What this disk has meanwhile is kept; registry, evaluations and gallery are merged.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import stat
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from pipeline.artifacts import evaluation, manifest
from pipeline.core import atomic_io
from pipeline.core.errors import DamagedError
from pipeline.core.paths import ID, Home
from pipeline.core.settings import ARCHIVE, Settings
from pipeline.hub.background import Say
from pipeline.hub.bucket import (
    BUCKET,
    CHANGED_AT,
    OF_CORPUS,
    OF_EVALUATIONS,
    OF_REGISTRY,
    OF_RUN,
    SEAL,
    SavedUnits,
    identity_of,
    seal_of,
)
from pipeline.hub.gallery_file import DELETED, state_of

STAGING = ".restoring"
_PART = r"\w[\w.-]{0,200}"


@dataclass(frozen=True)
class Form:
    """What a unit may have. Nothing else is brought back: a planted request, say, would be a job that starts."""

    unit: str
    """Pattern of its name."""
    files: str
    """Pattern of the names of its files."""
    needed: frozenset[str] = frozenset()


FORMS = (
    Form(
        rf"corpora/{ID.pattern}",
        rf"{'|'.join(map(re.escape, OF_CORPUS))}|[\w-]+\.(parquet|bin)|tokenizer/{_PART}",
        frozenset({"manifest.json"}),
    ),
    # Without a status it would be a queued run, which starts by itself.
    Form(rf"runs/{ID.pattern}/record", "|".join(map(re.escape, OF_RUN)), frozenset({"request.json", "status.json"})),
    Form(rf"runs/{ID.pattern}/checkpoint", rf"checkpoints/step-\d{{8}}/{_PART}(/{_PART})?"),
    Form(rf"registry/{_PART}/[0-9a-f]{{12}}", rf"[0-9a-f]{{12}}/{_PART}"),
    Form(rf"registry/{_PART}/rows", "|".join(map(re.escape, OF_REGISTRY))),
    Form("evaluations", OF_EVALUATIONS.pattern),
    Form("gallery", _PART),
)
MODERATION = "moderation.json"
FIRST = (MODERATION, DELETED)
"""Before the examples that these hide: visitors read the gallery meanwhile, and a kill may come in between."""
REQUEST, STATUS, STOP = "request.json", "status.json", "stop.json"
DAMAGE = (DamagedError, ValueError, FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError)
DAMAGE_CODES = (errno.ELOOP, errno.ENAMETOOLONG)
"""Errors of a version that will be the same tomorrow. Any other OSError may pass, as of a mount that was lost or of a full
disk: what is skipped then would be missing for good.
"""
LATEST = 2**62
"""A time of a file above this cannot be set."""


@dataclass(frozen=True)
class Saved:
    """One sealed version of a unit in the archive."""

    name: str
    path: Path
    entries: manifest.Entries
    sealed_at: float

    @property
    def num_bytes(self) -> int:
        return sum(entry["size"] for entry in self.entries.values())


Versions = dict[str, list[Saved]]
"""By the name of the unit, newest first."""


def is_due(settings: Settings) -> bool:
    """Whether nothing in the archive was found yet since this disk is in use."""
    return settings.archive is not None and not Home(settings.home).restored(BUCKET).exists()


def restore_all(settings: Settings, say: Say = lambda text: None) -> list[str]:
    """Bring back what this disk does not have; returns the names of its units. Done once for each disk, and again while
    the archive is empty: it may not be mounted yet.

    Raises OSError when there is no such folder, it cannot be read now, or the disk is full; the next call goes on. What is
    damaged is left out, with a line in the log.
    """
    archive, home = settings.archive, Home(settings.home)
    if archive is None or not is_due(settings):
        return []
    with atomic_io.locked(home.restore_lock):
        if not is_due(settings):
            return []
        if not archive.is_dir():
            raise FileNotFoundError(f"there is no folder {archive}; mount it, or leave out {ARCHIVE}")
        shutil.rmtree(home.path / STAGING, ignore_errors=True)
        found = _sealed(archive)
        if not found:
            return []
        restored = _Restoring(home, archive, found, say).run()
        atomic_io.write_json(home.restored(BUCKET), {"restored": restored, "time": time.time()})
    return restored


def _sealed(archive: Path) -> Versions:
    found: Versions = {}
    for seal in archive.rglob(SEAL):
        if seal.parent == archive:
            continue
        name, sealed = seal.parent.parent.relative_to(archive).as_posix(), seal_of(seal.parent)
        form = next((form for form in FORMS if re.fullmatch(form.unit, name, re.ASCII)), None)
        if form is None or sealed is None or not form.needed <= sealed[0].keys():
            continue
        entries, sealed_at = sealed
        if all(re.fullmatch(form.files, file, re.ASCII) and _is_time(entry) for file, entry in entries.items()):
            found.setdefault(name, []).append(Saved(name, seal.parent, entries, sealed_at))
    return {name: sorted(found[name], key=lambda saved: -saved.sealed_at) for name in sorted(found)}


def _is_time(entry: dict[str, object]) -> bool:
    changed_at = entry.get(CHANGED_AT)
    return type(changed_at) is int and 0 <= changed_at < LATEST


class _Restoring:
    """One pass over the archive."""

    def __init__(self, home: Home, archive: Path, found: Versions, say: Say) -> None:
        self._home = home
        self._archive = archive
        self._found = found
        self._say = say
        self._restored: list[str] = []
        self._total = sum(versions[0].num_bytes for versions in found.values())
        self._done = 0
        self._saved = SavedUnits(home)
        if self._saved.archive != (identity := identity_of(archive)):
            self._saved.begin_archive(identity)

    def run(self) -> list[str]:
        for name in self._found:
            kind, *rest = name.split("/")
            target = self._home.path / name
            if kind == "corpora" and not target.exists():
                self._bring([name], target)
            elif kind == "runs" and rest[1] == "record" and not target.parent.exists():
                # With its checkpoint or not at all: without it, the run would begin anew.
                checkpoint = f"runs/{rest[0]}/checkpoint"
                self._bring([checkpoint, name] if checkpoint in self._found else [name], target.parent)
            elif kind == "registry" and rest[1] != "rows" and not target.exists():
                self._bring([name], target, inner=rest[1])
        for name in self._found:
            if name in ("evaluations", "gallery") or name.endswith("/rows"):
                self._merge(name)
        return self._restored

    def _bring(self, names: list[str], target: Path, inner: str = "") -> None:
        """Build the folder `target` of these units, and rename it to its place. `inner`: what of the built folder."""
        staged = self._home.path / STAGING / names[-1]
        used = []
        for name in names:
            self._tell(name)
            used.append(self._build(self._found[name], staged))
        if all(used):
            _settle(staged)
            target.parent.mkdir(parents=True, exist_ok=True)
            (staged / inner).rename(target)
            self._note(used)
        shutil.rmtree(staged, ignore_errors=True)

    def _merge(self, name: str) -> None:
        """Add what this disk lacks of the evaluations, of the gallery, or of the rows of a registry. The newest version does
        not have everything: a restore that was killed half way is saved as well.
        """
        staged = self._home.path / STAGING / name
        is_gallery = name == "gallery"
        target = self._home.path / name.removesuffix("/rows")
        self._tell(name)
        for saved in self._found[name]:
            if self._build([saved], staged) is not None:
                target.mkdir(parents=True, exist_ok=True)
                # The page moderates under the same lock. Registries need none: rows are appended.
                with atomic_io.locked(target / ".lock") if is_gallery else contextlib.nullcontext():
                    deleted = {str(row.get("id")) for row in atomic_io.iterate_lines(target / DELETED)}
                    for path in sorted(staged.iterdir(), key=lambda path: (path.name not in FIRST, path.name)):
                        if path.stem not in deleted and (name != "evaluations" or _is_result(path)):
                            _merge_file(path, target / path.name)
                self._note([saved])
            shutil.rmtree(staged, ignore_errors=True)

    def _note(self, used: list[Saved | None]) -> None:
        for saved in used:
            if saved is not None:
                self._saved.note(saved.name, saved.path.name)
                if saved.name not in self._restored:
                    self._restored.append(saved.name)

    def _tell(self, name: str) -> None:
        self._say(f"Restoring {name} from {self._archive}: {self._done / 1e6:,.0f} of {self._total / 1e6:,.0f} MB")
        self._done += self._found[name][0].num_bytes

    def _build(self, versions: list[Saved], staged: Path) -> Saved | None:
        """Copy the first of the versions that is whole into `staged`; None when none is. Raises OSErrors that may pass."""
        for saved in versions:
            try:
                _copy(saved, staged)
                return saved
            except (OSError, *DAMAGE) as error:
                if not isinstance(error, DAMAGE) and getattr(error, "errno", None) not in DAMAGE_CODES:
                    raise
                fault = str(error) if isinstance(error, DamagedError) else f"{type(error).__name__}: {error}"
            _clear(staged, saved)
            print(
                f"{saved.name} in {self._archive} is damaged: {fault}; this version is not restored.", file=sys.stderr
            )
        return None


def _is_result(path: Path) -> bool:
    """Whether an evaluation in the archive, into which others may write, has figures that can be shown."""
    return evaluation.is_result(atomic_io.readable_json(path))


def _copy(saved: Saved, staged: Path) -> None:
    """Raises DamagedError when a file is not the one that was sealed; it is not read when its size is another one."""
    for name, entry in saved.entries.items():
        source, target = saved.path / name, staged / name
        status = source.lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_size != entry["size"]:
            raise DamagedError(f"{name} is not a file of {entry['size']:,} bytes")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        os.utime(target, ns=(entry[CHANGED_AT], entry[CHANGED_AT]))
    if fault := manifest.fault(staged, saved.entries):
        raise DamagedError(fault)


def _settle(staged: Path) -> None:
    """End what only this disk's processes could go on with, in a run or corpus: no job starts because it was restored.

    A request that had no status yet was queued, cancelled, or failed before it began; it becomes that of the status. What
    was asked to stop has stopped.
    """
    request, status, stop = staged / REQUEST, staged / STATUS, staged / STOP
    if not (request.is_file() and status.is_file()):
        return
    asked, answered = atomic_io.readable_json(request), atomic_io.readable_json(status)
    answered_id = answered.get("request_id", "")
    if asked and asked.get("request_id", "") != answered_id:
        changed_at = request.stat().st_mtime_ns
        atomic_io.write_json(request, {**asked, "request_id": answered_id})
        os.utime(request, ns=(changed_at, changed_at))
    is_stopping = stop.is_file() and atomic_io.readable_json(stop).get("request_id", "") == answered_id
    if is_stopping and answered.get("state") == "running":
        atomic_io.write_json(status, {**answered, "state": "stopped"})
    stop.unlink(missing_ok=True)


def _clear(staged: Path, saved: Saved) -> None:
    """Delete what was copied of a version, also in a folder that holds another unit."""
    for name in saved.entries:
        with contextlib.suppress(OSError, ValueError):
            (staged / name).unlink()
            for folder in (staged / name).parents:
                if folder == staged:
                    break
                folder.rmdir()  # raises OSError unless it is empty


def _merge_file(archived: Path, own: Path) -> None:
    """Add to a file of this disk what it lacks. Of an example and of the salt, that of this disk stays."""
    if own.name == MODERATION and (states := atomic_io.readable_json(archived)):
        atomic_io.write_json(archived, {name: state_of(state) for name, state in states.items()})
    if not own.exists():
        archived.rename(own)
    elif own.suffix == ".jsonl":
        known = list(atomic_io.iterate_lines(own))
        revisions = {str(row.get("revision")) for row in known} if own.name in OF_REGISTRY else set()
        for row in atomic_io.iterate_lines(archived):
            if row not in known and str(row.get("revision")) not in revisions:
                atomic_io.append_line(own, row)  # safe beside another process that appends
    elif own.name == MODERATION:
        try:
            atomic_io.write_json(own, {**atomic_io.readable_json(archived), **(atomic_io.read_json(own) or {})})
        except DamagedError as error:
            print(f"{own.name} of the archive is not merged: {error}", file=sys.stderr)
