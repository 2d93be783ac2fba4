"""What the gallery of a repo is after a push of this home: its own examples, and those that other homes put there.

    gallery.jsonl          one row per example
    gallery-removed.json   ids of examples that a home has taken away, so that no other home puts them back

gallery-ids-<repo>.json in the home: which of the ids there this home knows (`ids`), and which it took away (`removed`).
An id that is known and that the owner has deleted or hidden here is taken away; one that is not known is another home's.
A report alone takes nothing away for good: it is a stranger's.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.core import atomic_io
from pipeline.core.errors import DamagedError
from pipeline.core.paths import Home
from pipeline.hub.gallery_file import NAME, digest_of, file_of, gallery_file, own_rows, reported, rows_of, taken_away

if TYPE_CHECKING:
    from huggingface_hub import HfApi

REMOVED = "gallery-removed.json"
MAX_ROWS, MAX_REMOVED = 20_000, 50_000
"""Of all homes together; above it, those that are oldest, or last by name, are left out."""
MAX_FILE_BYTES = 2 * 10**8


@dataclass(frozen=True, kw_only=True)
class Merged:
    """The files after a push."""

    rows: list[dict[str, Any]]
    removed: frozenset[str]
    own_removed: frozenset[str]
    """Of `removed`, those that this home has taken away."""
    takes_away: bool
    """Whether a row of the repo is not among `rows`."""
    had_removed: bool
    """Whether the repo lists ids that were taken away: an empty list then replaces it."""

    def contents(self) -> dict[str, bytes]:
        is_written = self.removed or self.had_removed
        removed = {REMOVED: json.dumps({"ids": sorted(self.removed)}).encode()} if is_written else {}
        return {NAME: file_of(self.rows), **removed}


def merge(
    own: Iterable[dict[str, Any]],
    there: Iterable[dict[str, Any]],
    *,
    removed: frozenset[str],
    taken: frozenset[str],
    own_removed: frozenset[str],
    withheld: frozenset[str] = frozenset(),
) -> Merged:
    """`own`: the public rows of this home; `there`, `removed`: of the repo. `taken`: what this home knows to be there and its
    owner takes away; `own_removed`: what it took away before. `withheld`: left out this time, and not taken away.
    """
    mine, theirs, had_removed = {row["id"]: row for row in own}, {row["id"]: row for row in there}, bool(removed)
    by_us = (own_removed | (taken & (theirs.keys() | removed))) - mine.keys()
    removed = (removed - (own_removed & mine.keys())) | by_us
    rows = {**theirs, **mine}
    kept = sorted(
        (row for name, row in rows.items() if name not in removed | withheld),
        key=lambda row: str(row.get("created_at")),
    )
    kept = kept[-MAX_ROWS:]
    return Merged(
        rows=kept,
        removed=frozenset(sorted(removed)[:MAX_REMOVED]),
        own_removed=by_us,
        takes_away=bool(theirs.keys() - {row["id"] for row in kept}),
        had_removed=had_removed,
    )


def merged_with_repo(api: HfApi, repo: str, head: str, home: Home, *, kind: str, only_approved: bool) -> Merged:
    """Reads the gallery of the repo at `head`, and records before the push what it will put there: a push that is killed
    after its commit has known it. `kind`: `model` or `dataset`.
    """
    files = {name: fetched(api, repo, name, head, kind) for name in (NAME, REMOVED)}
    removed = _read_removed(files[REMOVED])
    with atomic_io.locked(home.gallery / ".lock"):
        own = list(own_rows(home, only_approved=only_approved))
        known, own_removed = _record(home, repo, kind)
        merged = merge(
            own,
            rows_of(files[NAME]),
            removed=removed,
            taken=taken_away(home, known, only_approved=only_approved),
            own_removed=own_removed,
            # The model repo shows no reported example. One that the owner has approved stays in the dataset as it is there.
            withheld=frozenset() if only_approved else reported(home),
        )
        _write(home, repo, kind, known | {row["id"] for row in own}, own_removed | merged.own_removed)
    return merged


def shared_digest(home: Home, repo: str, kind: str, *, only_approved: bool) -> str:
    """Of what a push would put there and take away; hiding a reported example changes only the second."""
    taken = taken_away(home, _record(home, repo, kind)[0], only_approved=only_approved)
    return digest_of(gallery_file(home, only_approved=only_approved) + "\n".join(sorted(taken)).encode())


def note_known(home: Home, repo: str, kind: str, source: Path) -> None:
    """Record the examples of a downloaded gallery.jsonl that this disk has: deleting one here takes it away there. Of a
    dataset, not those that this home shows and never approved: they are there by another home.
    """
    with atomic_io.locked(home.gallery / ".lock"):
        found = {row["id"] for row in rows_of(source) if (home.gallery / f"{row['id']}.json").exists()}
        if kind == "dataset":
            found -= taken_away(home, found, only_approved=True) - taken_away(home, found)
        known, own_removed = _record(home, repo, kind)
        _write(home, repo, kind, known | found, own_removed)


def note_removed(home: Home, repo: str, kind: str, merged: Merged) -> None:
    """Record after the push what this home has taken away: what it shows again is not among that, and another home may
    take it away.
    """
    with atomic_io.locked(home.gallery / ".lock"):
        known, _ = _record(home, repo, kind)
        _write(home, repo, kind, known, merged.own_removed)


def is_there(api: HfApi, repo: str, head: str, name: str, content: bytes, kind: str) -> bool:
    """Whether the repo has the file with this content."""
    path = fetched(api, repo, name, head, kind)
    return path is not None and path.read_bytes() == content


def fetched(api: HfApi, repo: str, name: str, head: str, kind: str) -> Path | None:
    """The file, downloaded; None without one. Raises DamagedError before the download when it is too large."""
    found = api.get_paths_info(repo, [name], revision=head, repo_type=kind)
    if not found:
        return None
    if getattr(found[0], "size", 0) > MAX_FILE_BYTES:
        raise DamagedError(f"{name} of {repo} is too large to be ours; delete it there.")
    return Path(api.hf_hub_download(repo, name, revision=head, repo_type=kind))


def _read_removed(path: Path | None) -> frozenset[str]:
    ids = atomic_io.readable_json(path).get("ids") if path else None
    return frozenset(name for name in ids if isinstance(name, str)) if isinstance(ids, list) else frozenset()


def _record(home: Home, repo: str, kind: str) -> tuple[frozenset[str], frozenset[str]]:
    found = atomic_io.readable_json(home.gallery_ids(kind, repo))
    return frozenset(found.get("ids") or ()), frozenset(found.get("removed") or ())


def _write(home: Home, repo: str, kind: str, ids: Iterable[str], removed: Iterable[str]) -> None:
    atomic_io.write_json(home.gallery_ids(kind, repo), {"ids": sorted(ids), "removed": sorted(removed)})
