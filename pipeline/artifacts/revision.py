"""Registry of the pushed revisions on this disk: immutable folders that outlive their checkpoints, and their history.

    registry/<repo>/<revision>/      the checkpoint's files except training/, with its own provenance and manifest
    registry/<repo>/history.jsonl    one row per revision, oldest first
    registry/<repo>/states/          training states that wait for their push (`hub.kept_states`)
    registry/<repo>/commits.jsonl    the commit on the Hub that contains a revision

Files are hard links, so a revision takes no disk space while its checkpoint exists, and checkpoint rotation does not
affect it. Only the publisher adds revisions; any process may read at the same time.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pipeline.artifacts import manifest
from pipeline.artifacts.checkpoint import PROVENANCE, Checkpoint, damaged
from pipeline.core import atomic_io
from pipeline.core.errors import DamagedError, InputError
from pipeline.core.paths import Home
from pipeline.core.untrusted import MAX_FLOAT, MAX_NUMBER, is_usable

NAME = re.compile(r"[0-9a-f]{12}")
NEWEST, BEST = "newest", "best"
SHORTEST_PREFIX = 4
OLDER_FACTS = {"run_uid": None, "diverged": False, "tokens": None, "parameters": None}
"""Values of keys that older revisions lack."""
FACTS = ("repo", "revision", "run", "step", "corpus", "pushed_at", "eval_loss", *OLDER_FACTS)
"""Keys of a history row, also in a revision's provenance.json."""


@dataclass(frozen=True, kw_only=True)
class Revision:
    """One pushed checkpoint."""

    repo: str
    """`owner/name` on the Hub, or `local`."""
    revision: str
    """12 hexadecimal digits."""
    run: str
    run_uid: str | None = None
    """Distinguishes runs of the same name; None for a run that is older than this field."""
    step: int
    corpus: str
    pushed_at: str
    """Time of its addition to the registry, ISO 8601 in UTC; later than that of every revision added before it."""
    eval_loss: float | None
    """Mean validation loss per token at that step; None when it was not measured."""
    diverged: bool = False
    """Whether its loss was above that of a model that guesses, so that its weights are of no use."""
    tokens: int | None = None
    """Tokens that it was trained on, repeated ones counted again; None for a revision that is older than this field."""
    parameters: int | None = None
    """Its weights, tied ones counted once; None as above."""
    commit: str | None
    """The commit on the Hub that contains it; None before it is uploaded."""
    path: Path
    """Folder that `transformers` loads."""

    def to_dict(self) -> dict[str, Any]:
        """Every field except the path, for the command line and the web API."""
        return {name: getattr(self, name) for name in (*FACTS, "commit")}

    @property
    def is_young(self) -> bool:
        """Whether it has read fewer tokens than it has weights, so that most of what it writes is noise."""
        return self.tokens is not None and self.parameters is not None and self.tokens < self.parameters

    def is_of_same_run(self, other: Revision) -> bool:
        """Compares `run_uid` too: a run name may have been reused after the disk was wiped."""
        return (self.run, self.run_uid) == (other.run, other.run_uid)

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any], *, commit: str | None, path: Path) -> Revision:
        """From a provenance or a history row. Raises KeyError when a key of FACTS is missing."""
        complete = {**OLDER_FACTS, **facts}
        return cls(**{name: complete[name] for name in FACTS}, commit=commit, path=path)


class Registry:
    """The revisions of one repo. Constructing it creates nothing on disk."""

    def __init__(self, home: Home, repo: str) -> None:
        self.repo = repo
        self.folder = home.registry(repo)

    def revisions(self) -> list[Revision]:
        """Newest first. Cheap enough to call once a second: the history is read again only when it has changed."""
        commits = {str(row.get("revision")): row.get("commit") for row in atomic_io.cached_lines(self._commits)}
        rows = {row["revision"]: row for row in atomic_io.cached_lines(self._history) if are_facts(row)}
        found = (
            Revision.from_facts(row, commit=commits.get(name), path=self.folder / name)
            for name, row in reversed(rows.items())
        )
        there = [revision for revision in found if revision.path.is_dir()]
        # Rows that were restored after newer ones stand behind them. The sort is stable.
        return sorted(there, key=lambda revision: _time(revision.pushed_at), reverse=True)

    def newest(self) -> Revision | None:
        return newest_of(self.revisions())

    def get(self, text: str) -> Revision:
        """The revision that `text` names (see `pick`). Raises InputError listing the existing ones."""
        return pick(self.revisions(), text, self.repo)

    def fetch(self, revision: Revision) -> Revision:
        """The revision with its files on this disk: no download, since this registry is local."""
        return revision

    def add(self, checkpoint: Path) -> Revision:
        """Add a complete checkpoint as a revision; an existing one is returned unchanged. For the publisher only.

        Raises DamagedError when a file does not match the manifest.
        """
        source = Checkpoint.open(checkpoint)
        target = self.folder / source.revision
        if not target.is_dir():
            self._build(source, target)
        return self._record(target)

    def note_commit(self, revision: Revision, commit: str) -> None:
        """Record the commit on the Hub that contains the revision. For the publisher only."""
        if revision.commit != commit:
            atomic_io.append_line(self._commits, {"revision": revision.revision, "commit": commit})

    def repair(self) -> None:
        """Clean up after a killed publisher: delete staging folders, add the missing history rows of revisions.

        A folder with an unreadable provenance gets no row; the error is printed, and the other folders are processed.
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
            self._append_row(revision)

    @property
    def _history(self) -> Path:
        return self.folder / "history.jsonl"

    @property
    def _commits(self) -> Path:
        return self.folder / "commits.jsonl"

    def _build(self, source: Checkpoint, target: Path) -> None:
        """Link all files into a hidden staging folder, verify them there, and publish it by one rename."""
        staged = self.folder / f".{target.name}.{secrets.token_hex(4)}"
        try:
            for name in source.files:
                _link(source, name, staged / name)
            source.verify(staged)
            self._describe(source, staged)
            atomic_io.sync(staged)
            staged.rename(target)
        finally:
            shutil.rmtree(staged, ignore_errors=True)  # a no-op after the rename; `repair` deletes leftovers
        atomic_io.sync(self.folder)

    def _describe(self, source: Checkpoint, staged: Path) -> None:
        """Write the revision's own provenance and manifest, and make its files read-only."""
        own_facts = {"repo": self.repo, "revision": source.revision, "pushed_at": self._next_time()}
        provenance = {"eval_loss": None, **source.provenance, **own_facts}
        atomic_io.write_json(staged / PROVENANCE, provenance)  # replaces the link; the checkpoint keeps its own file
        manifest.write(staged, source.step, {**source.files, PROVENANCE: manifest.entry(staged / PROVENANCE)})
        for path in staged.rglob("*"):
            if path.is_file():
                path.chmod(0o444)

    def _next_time(self) -> str:
        """Now; just after the newest revision's time if the clock was set back. The times must order the revisions: their
        commits on the Hub may be in another order, because a refused push is made later.
        """
        before = [_time(revision.pushed_at) for revision in self.revisions()[:1]]
        now = max([datetime.now(UTC), *(time + timedelta(microseconds=1) for time in before)])
        return now.isoformat(timespec="microseconds")

    def _record(self, folder: Path) -> Revision:
        """Append the revision's row unless it has one."""
        listed = {revision.revision: revision for revision in self.revisions()}
        if folder.name not in listed:
            revision = _from_folder(folder)
            self._append_row(revision)
            return revision
        return listed[folder.name]

    def _append_row(self, revision: Revision) -> None:
        atomic_io.append_line(self._history, {name: getattr(revision, name) for name in FACTS})


def are_facts(row: Mapping[str, Any]) -> bool:
    """Whether the values have the types of their fields. Somebody else may have written them, in an archive or a repo."""
    facts = {**OLDER_FACTS, **row}
    name, step, loss, uid = (facts.get(key) for key in ("revision", "step", "eval_loss", "run_uid"))
    texts = [facts.get(key) for key in ("repo", "revision", "run", "corpus", "pushed_at")]
    return (
        all(isinstance(text, str) for text in texts)
        and is_usable(texts)
        and NAME.fullmatch(str(name)) is not None
        and (uid is None or (isinstance(uid, str) and is_usable(uid)))
        and isinstance(facts["diverged"], bool)
        and _is_count(step)
        and all(facts[key] is None or _is_count(facts[key]) for key in ("tokens", "parameters"))
        and "eval_loss" in row
        and (loss is None or (type(loss) in (int, float) and abs(loss) < MAX_FLOAT))
    )


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < MAX_NUMBER


def _time(text: str) -> datetime:
    """The earliest of all times for a text that is none, as after an edit by hand."""
    with contextlib.suppress(ValueError, TypeError):
        if (time := datetime.fromisoformat(text)).tzinfo is not None:
            return time
    return datetime.min.replace(tzinfo=UTC)


def window_of(revision: Revision) -> int | None:
    """How many tokens the windows had that it was trained on; None when it does not tell."""
    facts = atomic_io.readable_json(revision.path / PROVENANCE)
    found = facts.get("window", atomic_io.readable_json(revision.path / "config.json").get("n_ctx"))
    return found if type(found) is int and found > 0 else None


def newest_of(revisions: Sequence[Revision]) -> Revision | None:
    """The first of `revisions`, which are ordered newest first, that has not diverged; the first if all have."""
    return next((revision for revision in revisions if not revision.diverged), next(iter(revisions), None))


def best_of(revisions: Sequence[Revision]) -> Revision | None:
    """The one with the lowest validation loss, of equal ones the earliest; None when none was measured. `revisions` are
    ordered newest first. Losses on two corpora cannot be compared, so only those on the newest one's corpus count, or if
    there are none, on the corpus of the newest one that was measured.
    """
    newest = newest_of(revisions)
    sound = [revision for revision in reversed(revisions) if revision.eval_loss is not None and not revision.diverged]
    corpora = {revision.corpus for revision in sound}
    if newest is None or not sound:
        return None
    corpus = newest.corpus if newest.corpus in corpora else sound[-1].corpus
    return min((r for r in sound if r.corpus == corpus), key=lambda revision: revision.eval_loss or 0.0)


def pick(revisions: Sequence[Revision], text: str, repo: str) -> Revision:
    """The revision that `text` names: `newest`, `best`, an id, or at least the first SHORTEST_PREFIX digits of just one id."""
    text = text.strip().lower()[:64]
    if not revisions:
        raise InputError(f"{repo} has no revision yet; train a model first.")
    if text == NEWEST:
        return newest_of(revisions) or revisions[0]
    if text == BEST:
        if (best := best_of(revisions)) is None:
            raise InputError("No revision has a validation loss yet; use newest.")
        return best
    found = [r for r in revisions if r.revision.startswith(text)] if len(text) >= SHORTEST_PREFIX else []
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(f"revision {text!r} begins the ids {_names(found)}; give more digits.")
    raise InputError(
        f"There is no revision {text!r}; use newest, best, starter, or at least the first {SHORTEST_PREFIX} digits of {_names(revisions)}."
    )


def _names(revisions: Sequence[Revision], limit: int = 5) -> str:
    named = ", ".join(f"{r.revision} (run {r.run}, step {r.step})" for r in revisions[:limit])
    return named if len(revisions) <= limit else f"{named} and {len(revisions) - limit} more"


def _link(source: Checkpoint, name: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        atomic_io.link_or_copy(source.path / name, target)
    except FileNotFoundError as error:
        raise damaged(source.path, f"{name} is missing") from error


def _from_folder(path: Path) -> Revision:
    """Raises DamagedError when the provenance is missing, torn or lacks a key of FACTS."""
    provenance = atomic_io.read_json(path / PROVENANCE) or {}
    try:
        return Revision.from_facts(provenance, commit=None, path=path)
    except KeyError as error:
        raise DamagedError(
            f"Revision {path.name} is damaged: {path / PROVENANCE} does not tell {error}; it is left out, use another."
        ) from error


def _readable(folders: Iterable[Path]) -> Iterator[Revision]:
    """The revisions in `folders` that can be read; the errors of the others are printed to stderr."""
    for path in folders:
        try:
            yield _from_folder(path)
        except (DamagedError, OSError) as error:
            print(error, file=sys.stderr)
