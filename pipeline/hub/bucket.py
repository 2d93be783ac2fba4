"""A mounted folder that outlives this disk, as a bucket at `/data`, holds a copy of all finished work.

    <archive>/corpora/ID/VERSION/                 a prepared corpus
    <archive>/runs/ID/record/VERSION/             request, configuration, curves, samples, pushes
    <archive>/runs/ID/checkpoint/VERSION/         the newest checkpoint, with its training state
    <archive>/registry/REPO/REVISION/VERSION/     a revision; REPO/rows: the registry's own files
    <archive>/evaluations/VERSION/                the figures of every evaluated revision
    <archive>/gallery/VERSION/                    the gallery with its moderation
    <archive>/.../VERSION/sealed.json             size and SHA-256 of each file, written last

Nothing is worked on there, as such a folder may have no locks, no renames and no appends: a new version is written
beside the old one, which is deleted when the new one is sealed. `bucket_restore` is the way back,
`bucket_keeper` calls both.

archive.json in the archive tells it from another one at the same path, as an empty mount point. saved.json of the home
has the versions that this disk has saved, or brought back.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import secrets
import shutil
import stat
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.artifacts import evaluation, manifest
from pipeline.artifacts.checkpoint import complete_checkpoints
from pipeline.artifacts.revision import NAME as REVISION
from pipeline.core import atomic_io
from pipeline.core.paths import CorpusFolder, Home, RunFolder

SEAL = "sealed.json"
MAX_SEAL_BYTES = 10**7
IDENTITY = "archive.json"
CHANGED_AT = "mtime_ns"
"""Kept, so that a unit that was brought back has its version again."""
BUCKET = "archive"
"""Stands for the archive where a repo is named: `Home.restored`."""
OF_RUN = (
    *("request.json", "status.json", "config.json", "metrics.jsonl", "samples.jsonl", "pushes.jsonl", "archived.json"),
    *("stop.json", "train.log"),
)
OF_CORPUS = (
    *("request.json", "status.json", "report.json", "samples.json", "stages.json", "prepare.log"),
    "manifest.json",
)
OF_EVALUATIONS = re.compile(rf"({evaluation.NAME.pattern})\.json")
OF_REGISTRY = ("history.jsonl", "commits.jsonl")


@dataclass(frozen=True)
class Unit:
    """What is copied as a whole."""

    name: str
    """Its folder in the archive."""
    folder: Path
    """In the home."""
    files: tuple[str, ...]
    """Relative to `folder`."""
    version: str
    """Changes when there is something to save."""


def units(home: Home, saved: Collection[str] = ()) -> Iterator[Unit]:
    """Everything on this disk that is finished, without the revisions named in `saved`: they never change. What is deleted
    meanwhile is left out.
    """
    for corpus in home.corpora():
        with contextlib.suppress(FileNotFoundError):  # it is being deleted
            if corpus.is_ready and not atomic_io.is_locked(corpus.lock):
                yield from _stamped(f"corpora/{corpus.id}", corpus.path, _corpus_files(corpus))
    for run in home.runs():
        with contextlib.suppress(
            FileNotFoundError
        ):  # training deletes old checkpoints; the next look finds a newer one
            yield from _run_units(run)
    for registry in _folders(home.path / "registry"):
        found = [folder for folder in _folders(registry) if REVISION.fullmatch(folder.name)]
        revisions = [folder for folder in found if (folder / manifest.NAME).exists()]
        for folder in revisions:
            if f"registry/{registry.name}/{folder.name}" in saved:
                continue
            files = [path.relative_to(registry).as_posix() for path in _files(folder)]
            yield Unit(f"registry/{registry.name}/{folder.name}", registry, tuple(files), folder.name)
        if revisions:
            yield from _stamped(f"registry/{registry.name}/rows", registry, _existing(registry, OF_REGISTRY))
    if results := [path.name for path in _files(home.evaluations) if OF_EVALUATIONS.fullmatch(path.name)]:
        yield from _stamped("evaluations", home.evaluations, results)
    if examples := [path.name for path in _files(home.gallery) if not path.name.startswith(".")]:
        yield from _stamped("gallery", home.gallery, examples)


def _run_units(run: RunFolder) -> Iterator[Unit]:
    """The newest checkpoint, then the record: a record never speaks of a later checkpoint than is saved."""
    if not run.status.exists():  # a queued run does not come back: it would start by itself
        return
    checkpoints = complete_checkpoints(run)
    newest = checkpoints[-1].name if checkpoints else ""
    if checkpoints:
        files = [path.relative_to(run.path).as_posix() for path in _files(checkpoints[-1])]
        yield from _stamped(f"runs/{run.id}/checkpoint", run.path, files)
    # Not by its files: metrics.jsonl grows every second.
    state = [newest, atomic_io.is_locked(run.lock), atomic_io.readable_json(run.status).get("state"), run.stop.exists()]
    request, pushes = run.request.stat().st_mtime_ns, len(atomic_io.cached_lines(run.pushes))
    yield Unit(
        f"runs/{run.id}/record", run.path, tuple(_existing(run.path, OF_RUN)), _digest([*state, request, pushes])
    )


def _corpus_files(corpus: CorpusFolder) -> list[str]:
    data = [path.name for path in corpus.path.iterdir() if path.suffix in (".parquet", ".bin")]
    tokenizer = [f"{corpus.tokenizer.name}/{path.name}" for path in _files(corpus.tokenizer)]
    return [*sorted(data), *tokenizer, *_existing(corpus.path, OF_CORPUS)]


def _existing(folder: Path, names: tuple[str, ...]) -> list[str]:
    return [name for name in names if (folder / name).is_file()]


def _stamped(name: str, folder: Path, files: list[str]) -> list[Unit]:
    """A unit whose version follows size and time of its files; none when a file is gone."""
    try:
        stats = [(folder / file).stat() for file in files]
    except FileNotFoundError:
        return []
    found = [(file, status.st_size, status.st_mtime_ns) for file, status in zip(files, stats, strict=True)]
    return [Unit(name, folder, tuple(files), _digest(found))]


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:12]


def _folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []


# ---- saving ----


def seal_of(version: Path) -> tuple[manifest.Entries, float] | None:
    """The files of a version and when it was sealed; None for one that is not sealed, or whose seal is torn."""
    seal = version / SEAL
    try:
        status = seal.lstat()
    except (FileNotFoundError, NotADirectoryError, PermissionError, ValueError):
        return None  # any other error may pass, and must not make a good version look as if it were not sealed
    if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_SEAL_BYTES:
        return None
    content = atomic_io.readable_json(seal)
    entries, sealed_at = manifest.entries_of(content), content.get("sealed_at")
    return (entries, sealed_at) if entries is not None and isinstance(sealed_at, float) else None


def save(archive: Path, unit: Unit, own: Collection[str] = ()) -> None:
    """Copy the unit, seal it, and delete its versions `own`, which this disk has saved before or brought back. Raises
    OSError; FileNotFoundError when a file of the unit is gone, as training deletes old checkpoints.
    """
    target = archive / unit.name / unit.version
    if seal_of(target) is None:
        _copy(unit, target)
    for other in _folders(target.parent):
        # A sealed version of another disk stays: it may have what this disk has not brought back.
        if other != target and (other.name in own or seal_of(other) is None):
            shutil.rmtree(other, ignore_errors=True)


def _copy(unit: Unit, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    (target / SEAL).unlink(missing_ok=True)  # a torn one
    with _kept(unit) as folder:
        for name in unit.files:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / name, target / name)
        changed_at = {name: (folder / name).stat().st_mtime_ns for name in unit.files}
    entries = {name: {**manifest.entry(target / name), CHANGED_AT: changed_at[name]} for name in unit.files}
    text = json.dumps({"files": entries, "sealed_at": time.time()}, indent=1)
    (target / SEAL).write_text(text, encoding="utf-8")  # in place: there may be no renames


@contextlib.contextmanager
def _kept(unit: Unit) -> Iterator[Path]:
    """A folder with the unit's files in which nobody deletes them. Training deletes old checkpoints: with a slow archive,
    each would be gone before it is copied. Raises FileNotFoundError when a file is gone already.
    """
    if not unit.name.endswith("/checkpoint"):
        yield unit.folder
        return
    scratch = unit.folder / ".archiving"
    shutil.rmtree(scratch, ignore_errors=True)  # of a process that was killed
    try:
        for name in unit.files:
            (scratch / name).parent.mkdir(parents=True, exist_ok=True)
            atomic_io.link_or_copy(unit.folder / name, scratch / name)
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


class SavedUnits:
    """saved.json of a home: the archive it was saved to, and of each unit which versions there are this disk's own."""

    def __init__(self, home: Home) -> None:
        self._path = home.saved
        found = atomic_io.readable_json(self._path)
        self.archive: str | None = found.get("archive")
        self._units: dict[str, Any] = found.get("units") or {}

    @property
    def names(self) -> list[str]:
        return list(self._units)

    def version(self, name: str) -> str | None:
        """The version that is saved."""
        return self._units.get(name, {}).get("saved")

    def own(self, name: str) -> list[str]:
        """Also those that were begun."""
        return self._units.get(name, {}).get("own", [])

    def begin(self, unit: Unit) -> None:
        self._write(unit.name, {"saved": self.version(unit.name), "own": [*self.own(unit.name), unit.version]})

    def note(self, name: str, version: str) -> None:
        self._write(name, {"saved": version, "own": [version]})

    def forget(self, name: str) -> None:
        self._units.pop(name, None)
        self._store()

    def begin_archive(self, archive: str) -> None:
        """Nothing is saved in this archive yet."""
        self.archive, self._units = archive, {}
        self._store()

    def _write(self, name: str, entry: dict[str, Any]) -> None:
        self._units[name] = entry
        self._store()

    def _store(self) -> None:
        atomic_io.write_json(self._path, {"archive": self.archive, "units": self._units})


def is_behind(home: Home, archive: Path | None) -> bool:
    """Whether something waits to be saved."""
    if archive is None:
        return False
    saved = SavedUnits(home)
    return any(True for _ in _unsaved(home, saved)) or bool(_deleted(home, saved))


def save_all(home: Home, archive: Path) -> None:
    """Save what has changed, and delete what was deleted here. Raises OSError. Nothing else may save at the same time.

    Call it after `bucket_restore.restore_all`: a disk that was wiped would replace the registry and the gallery.
    """
    if not archive.is_dir():
        raise FileNotFoundError(f"there is no folder {archive}")
    saved = SavedUnits(home)
    if saved.archive is not None and not (archive / IDENTITY).exists():
        raise FileNotFoundError(
            f"{archive} is empty, and was not; mount it again, or delete {home.saved} for a new archive"
        )
    identity = identity_of(archive)
    if saved.archive != identity:  # an empty mount point before, or another bucket: restored first, at the next look
        is_first = saved.archive is None
        saved.begin_archive(identity)
        if not is_first:
            home.restored(BUCKET).unlink(missing_ok=True)
            return
    late = ""
    for unit in _unsaved(home, saved):
        if late and unit.name == f"{late}/record":
            continue  # it may speak of the checkpoint that is not saved
        try:
            saved.begin(unit)
            save(archive, unit, own=saved.own(unit.name))
        except FileNotFoundError:  # a newer one is there by now
            late = unit.name.removesuffix("/checkpoint")
            continue
        saved.note(unit.name, unit.version)
    for name in _deleted(home, saved):
        versions = [archive / name / version for version in saved.own(name)]
        for version in versions:
            shutil.rmtree(version, ignore_errors=True)
        if not any(version.exists() for version in versions):
            with contextlib.suppress(OSError):  # not empty: another disk has saved a version, too
                (archive / name).rmdir()
            saved.forget(name)


def identity_of(archive: Path) -> str:
    """A name of the archive that tells it from another one at the same path; it is given one if it has none."""
    path = archive / IDENTITY
    known = atomic_io.readable_json(path).get("id") if path.is_file() and not path.is_symlink() else None
    if isinstance(known, str):
        return known
    given = secrets.token_hex(8)
    path.write_text(json.dumps({"id": given}), encoding="utf-8")
    return given


def _unsaved(home: Home, saved: SavedUnits) -> Iterator[Unit]:
    return (unit for unit in units(home, saved.names) if saved.version(unit.name) != unit.version)


def _deleted(home: Home, saved: SavedUnits) -> list[str]:
    """Corpora that this disk had, and that somebody has deleted; nothing else can be."""
    corpora = {name: Path(name).name for name in saved.names if name.startswith("corpora/")}
    return [name for name, corpus in corpora.items() if not home.corpus(corpus).path.exists()]
