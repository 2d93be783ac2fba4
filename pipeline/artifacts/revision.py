"""Pushed revisions on this disk: immutable folders that outlive their checkpoints, and the history of their arrival.

    registry/<repo>/<revision>/      the checkpoint's files without its training state, provenance and manifest of its own
    registry/<repo>/history.jsonl    one row per revision, oldest first
    registry/<repo>/commits.jsonl    which commit on the Hub holds a revision

Files are hard links, so a revision costs no space while its checkpoint is kept, and rotating checkpoints cannot touch
it. Only the publisher adds; everybody may read meanwhile.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.artifacts import manifest
from pipeline.artifacts.checkpoint import PROVENANCE, Checkpoint, damaged
from pipeline.core import atomic_io
from pipeline.core.errors import DamagedError, InputError
from pipeline.core.paths import Home

NAME = re.compile(r"[0-9a-f]{12}")
NEWEST = "newest"
SHORTEST_PREFIX = 4
FACTS = ("repo", "revision", "run", "step", "corpus", "pushed_at", "eval_loss")
"""What a history row and a revision's provenance.json both hold."""
NO_LINKS = (errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EMLINK)
"""What a file system answers that cannot hard-link here: another disk, no links at all, too many."""


@dataclass(frozen=True, kw_only=True)
class Revision:
    """One pushed checkpoint."""

    repo: str
    """`owner/name` on the Hub, or `local`."""
    revision: str
    """12 hexadecimal digits."""
    run: str
    step: int
    corpus: str
    pushed_at: str
    """When it entered the registry, ISO 8601 in UTC."""
    eval_loss: float | None
    """Mean validation loss per token at that step; None when it was not measured."""
    commit: str | None
    """The Hub's commit that holds it; None while there is none."""
    path: Path
    """Folder that `transformers` loads."""

    def to_dict(self) -> dict[str, Any]:
        """Everything but the path: what commands and the web API show."""
        return {name: getattr(self, name) for name in (*FACTS, "commit")}

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any], *, commit: str | None, path: Path) -> Revision:
        """From a provenance or a history row: both hold every fact."""
        return cls(**{name: facts[name] for name in FACTS}, commit=commit, path=path)


class Registry:
    """The revisions of one repo. Making one creates nothing."""

    def __init__(self, home: Home, repo: str) -> None:
        self.repo = repo
        self.folder = home.registry(repo)

    def revisions(self) -> list[Revision]:
        """Newest first. Cheap enough for once a second: the history is read again only when it has changed."""
        held = {row["revision"]: row["commit"] for row in atomic_io.cached_lines(self._commits)}
        rows = {row["revision"]: row for row in atomic_io.cached_lines(self._history)}
        known = (
            Revision.from_facts(row, commit=held.get(name), path=self.folder / name)
            for name, row in reversed(rows.items())
        )
        return [revision for revision in known if revision.path.is_dir()]

    def newest(self) -> Revision | None:
        return next(iter(self.revisions()), None)

    def get(self, text: str) -> Revision:
        """The revision with this id, with an id that begins so, or the newest. Raises InputError naming what there is."""
        return pick(self.revisions(), text, self.repo)

    def fetch(self, revision: Revision) -> Revision:
        """The revision with its files on this disk: here they always are."""
        return revision

    def add(self, checkpoint: Path) -> Revision:
        """Make a complete checkpoint a revision; one that is here already is returned as it is. For the publisher only.

        Raises DamagedError when a file is not what the manifest says.
        """
        source = Checkpoint.open(checkpoint)
        target = self.folder / source.revision
        if not target.is_dir():
            self._build(source, target)
        return self._record(target)

    def note_commit(self, revision: Revision, commit: str) -> None:
        """Write down which commit on the Hub holds the revision. For the publisher only."""
        if revision.commit != commit:
            atomic_io.append_line(self._commits, {"revision": revision.revision, "commit": commit})

    def repair(self) -> None:
        """Finish what a killed publisher left: staging folders go, revisions without a history row get theirs.

        A folder that cannot say what it is stays without a row, and is told of: the others are published all the same.
        """
        if not self.folder.is_dir():
            return
        entries = list(self.folder.iterdir())
        for path in entries:
            if path.name.startswith(".") and path.is_dir():
                shutil.rmtree(path)
        listed = {revision.revision for revision in self.revisions()}
        unlisted = [path for path in entries if NAME.fullmatch(path.name) and path.name not in listed]
        for revision in sorted(_readable(unlisted), key=lambda r: (r.pushed_at, r.step)):
            self._list(revision)

    @property
    def _history(self) -> Path:
        return self.folder / "history.jsonl"

    @property
    def _commits(self) -> Path:
        return self.folder / "commits.jsonl"

    def _build(self, source: Checkpoint, target: Path) -> None:
        """Link everything into a hidden folder, check it there, and show it by one rename."""
        staged = self.folder / f".{target.name}.{secrets.token_hex(4)}"
        try:
            for name in source.files:
                _link(source, name, staged / name)
            source.verify(staged)
            self._describe(source, staged)
            atomic_io.sync(staged)
            staged.rename(target)
        finally:
            shutil.rmtree(staged, ignore_errors=True)  # gone after the rename; `repair` drops what stays
        atomic_io.sync(self.folder)

    def _describe(self, source: Checkpoint, staged: Path) -> None:
        """Give the revision a provenance and a manifest of its own."""
        arrived = datetime.now(UTC).isoformat(timespec="seconds")
        own_facts = {"repo": self.repo, "revision": source.revision, "pushed_at": arrived}
        provenance = {"eval_loss": None, **source.provenance, **own_facts}
        atomic_io.write_json(staged / PROVENANCE, provenance)  # replaces the name; the checkpoint keeps its own file
        manifest.write(staged, source.step, {**source.files, PROVENANCE: manifest.entry(staged / PROVENANCE)})
        for path in staged.rglob("*"):
            if path.is_file():
                path.chmod(0o444)

    def _record(self, folder: Path) -> Revision:
        """Append the revision's row unless it has one."""
        known = {revision.revision: revision for revision in self.revisions()}
        if folder.name not in known:
            revision = _from_folder(folder)
            self._list(revision)
            return revision
        return known[folder.name]

    def _list(self, revision: Revision) -> None:
        atomic_io.append_line(self._history, {name: getattr(revision, name) for name in FACTS})


def pick(revisions: Sequence[Revision], text: str, repo: str) -> Revision:
    """The one that `text` names: `newest`, an id, or at least four digits that only one id begins with."""
    text = text.strip().lower()[:64]
    if not revisions:
        raise InputError(f"{repo} has no revision yet; train a model first.")
    if text == NEWEST:
        return revisions[0]
    found = [r for r in revisions if r.revision.startswith(text)] if len(text) >= SHORTEST_PREFIX else []
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(f"revision {text!r} begins the ids {_names(found)}; give more digits.")
    raise InputError(
        f"There is no revision {text!r}; use newest, or at least the first {SHORTEST_PREFIX} digits of {_names(revisions)}."
    )


def _names(revisions: Sequence[Revision], most: int = 5) -> str:
    named = ", ".join(f"{r.revision} (run {r.run}, step {r.step})" for r in revisions[:most])
    return named if len(revisions) <= most else f"{named} and {len(revisions) - most} more"


def _link(source: Checkpoint, name: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source.path / name, target)
    except FileNotFoundError as error:
        raise damaged(source.path, f"{name} is missing") from error
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        shutil.copyfile(source.path / name, target)
        with target.open("rb") as copy:
            os.fsync(copy.fileno())


def _from_folder(path: Path) -> Revision:
    """Raises DamagedError when its provenance is missing, torn or lacks a fact."""
    provenance = atomic_io.read_json(path / PROVENANCE) or {}
    try:
        return Revision.from_facts(provenance, commit=None, path=path)
    except KeyError as error:
        raise DamagedError(
            f"Revision {path.name} is damaged: {path / PROVENANCE} does not tell {error}; it is left out, use another."
        ) from error


def _readable(folders: Iterable[Path]) -> Iterator[Revision]:
    """The revisions among the folders; of the others the log tells."""
    for path in folders:
        try:
            yield _from_folder(path)
        except (DamagedError, OSError) as error:
            print(error, file=sys.stderr)
