"""A mounted folder that outlives this disk, as a bucket at `/data`, holds a copy of all finished work.

    <archive>/corpora/ID/VERSION/                 a prepared corpus
    <archive>/runs/ID/record/VERSION/             request, configuration, curves, samples, pushes
    <archive>/runs/ID/checkpoint/VERSION/         the newest checkpoint, with its training state
    <archive>/registry/REPO/REVISION/VERSION/     a revision; REPO/rows: the registry's own files
    <archive>/gallery/VERSION/                    the gallery with its moderation
    <archive>/.../VERSION/sealed.json             size and SHA-256 of each file, written last

Nothing is worked on there, as such a folder may have no locks, no renames and no appends: a new version is written
beside the old one, which is deleted when the new one is sealed. `bucket_restore` is the way back,
`bucket_keeper` calls both.

saved.json of the home has the versions that this disk has saved, or brought back.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.artifacts import manifest
from pipeline.artifacts.checkpoint import complete_checkpoints
from pipeline.artifacts.revision import NAME as REVISION
from pipeline.core import atomic_io
from pipeline.core.paths import CorpusFolder, Home, RunFolder

SEAL = "sealed.json"
CHANGED_AT = "mtime_ns"
"""Kept, so that a unit that was brought back has its version again."""
BUCKET = "archive"
"""Stands for the archive where a repo is named: `Home.restored`."""
OF_RUN = (
    *("request.json", "status.json", "config.json", "metrics.jsonl", "samples.jsonl", "pushes.jsonl", "archived.json"),
    "train.log",
)
OF_CORPUS = (
    "request.json",
    "status.json",
    "report.json",
    "samples.json",
    "stages.json",
    "prepare.log",
    "manifest.json",
)
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


def units(home: Home, saved: Mapping[str, str]) -> Iterator[Unit]:
    """Everything on this disk that is finished, without the revisions in `saved` (unit -> version): they never change."""
    for corpus in home.corpora():
        if corpus.is_ready and not atomic_io.is_locked(corpus.lock):
            yield _stamped(f"corpora/{corpus.id}", corpus.path, _corpus_files(corpus))
    for run in home.runs():
        with contextlib.suppress(
            FileNotFoundError
        ):  # training deletes old checkpoints: the next look finds a newer one
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
            yield _stamped(f"registry/{registry.name}/rows", registry, _existing(registry, OF_REGISTRY))
    if examples := [path.name for path in _files(home.gallery) if not path.name.startswith(".")]:
        yield _stamped("gallery", home.gallery, examples)


def _run_units(run: RunFolder) -> Iterator[Unit]:
    """The newest checkpoint, then the record: a record never speaks of a later checkpoint than is saved."""
    if not run.request.exists():
        return
    checkpoints = complete_checkpoints(run)
    newest = checkpoints[-1].name if checkpoints else ""
    if checkpoints:
        files = [path.relative_to(run.path).as_posix() for path in _files(checkpoints[-1])]
        yield _stamped(f"runs/{run.id}/checkpoint", run.path, files)
    # Not by its files: metrics.jsonl grows every second.
    state = [newest, atomic_io.is_locked(run.lock), atomic_io.readable_json(run.status).get("state")]
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


def _stamped(name: str, folder: Path, files: list[str]) -> Unit:
    """A unit whose version follows size and time of its files. Raises FileNotFoundError when one is gone."""
    stats = [(folder / file).stat() for file in files]
    found = [(file, stat.st_size, stat.st_mtime_ns) for file, stat in zip(files, stats, strict=True)]
    return Unit(name, folder, tuple(files), _digest(found))


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:12]


def _folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []


# ---- saving ----


def save(archive: Path, unit: Unit, own: str | None = None) -> None:
    """Copy the unit, seal it, and delete its version `own`, which this disk has saved before or brought back. Raises
    OSError; FileNotFoundError when a file of the unit is gone, as training deletes old checkpoints.
    """
    target = archive / unit.name / unit.version
    if not (target / SEAL).exists():
        _copy(unit, target)
    for other in _folders(target.parent):
        # A sealed version of another disk stays: it may have what this disk has not brought back.
        if other != target and (other.name == own or not (other / SEAL).exists()):
            shutil.rmtree(other, ignore_errors=True)


def _copy(unit: Unit, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for name in unit.files:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(unit.folder / name, target / name)
    changed_at = {name: (unit.folder / name).stat().st_mtime_ns for name in unit.files}
    entries = {name: {**manifest.entry(target / name), CHANGED_AT: changed_at[name]} for name in unit.files}
    text = json.dumps({"files": entries, "sealed_at": time.time()}, indent=1)
    (target / SEAL).write_text(text, encoding="utf-8")  # in place: there may be no renames


def is_behind(home: Home, archive: Path | None) -> bool:
    """Whether something waits to be saved."""
    if archive is None:
        return False
    return any(True for _ in _unsaved(home)) or bool(_deleted(home))


def save_all(home: Home, archive: Path) -> None:
    """Save what has changed, and delete what was deleted here. Raises OSError.

    Call it after `bucket_restore.restore_all`: a disk that was wiped would replace the registry and the gallery.
    """
    if not archive.is_dir():
        raise FileNotFoundError(f"there is no folder {archive}")
    for unit in _unsaved(home):
        try:
            save(archive, unit, own=atomic_io.readable_json(home.saved).get(unit.name))
        except FileNotFoundError:
            continue  # a newer one is there by now
        note_saved(home, {unit.name: unit.version})
    for name in _deleted(home):
        shutil.rmtree(archive / name, ignore_errors=True)
        note_saved(home, {name: None})


def note_saved(home: Home, versions: Mapping[str, str | None]) -> None:
    """Record versions of units in saved.json; None forgets one."""
    known = {**atomic_io.readable_json(home.saved), **versions}
    atomic_io.write_json(home.saved, {name: version for name, version in known.items() if version is not None})


def _unsaved(home: Home) -> Iterator[Unit]:
    saved = atomic_io.readable_json(home.saved)
    return (unit for unit in units(home, saved) if saved.get(unit.name) != unit.version)


def _deleted(home: Home) -> list[str]:
    """Corpora that this disk had, and that somebody has deleted; nothing else can be."""
    corpora = {name: Path(name).name for name in atomic_io.readable_json(home.saved) if name.startswith("corpora/")}
    return [name for name, corpus in corpora.items() if not home.corpus(corpus).path.exists()]
