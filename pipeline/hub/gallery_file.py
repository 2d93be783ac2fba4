"""The gallery in the model repo: `gallery.jsonl`, one row per example that every visitor may see, oldest first.

Hidden examples, and reported ones that the owner has not answered, are not pushed; nor is who kept what.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pipeline.core import atomic_io
from pipeline.core.paths import Home
from pipeline.core.settings import Limits
from pipeline.core.untrusted import is_usable
from pipeline.hub.token import redact

NAME = "gallery.jsonl"
EXAMPLE = re.compile(r"[a-z0-9]{8}")
MAX_RESTORED = 5_000
"""As many as a gallery keeps."""
DELETED = "deleted.jsonl"
"""Ids of the examples that the owner has deleted. One that only made room for another is not among them."""
RESTORED = "restored.jsonl"
"""Ids of the examples that came from a repo."""
MAX_CHARACTERS = 100_000
"""Of a row; the longest prompt with its completions is a third of that."""
MAX_TEXTS = 2 * Limits.samples
"""Of a row, as of the gallery's reader: the completions of two revisions. Each is an element of the page."""
PINNED = "pinned"
PIN = {"is_hidden": False, "is_pinned": True, "is_approved": False, "reporters": [], "num_settled": 0}
"""Moderation state of a pinned example that nobody has reported."""
UNTOUCHED, HIDDEN = {**PIN, "is_pinned": False}, {**PIN, "is_pinned": False, "is_hidden": True}


def gallery_file(home: Home, *, only_approved: bool = False) -> bytes:
    """What this home would put there. Raises DamagedError when the moderation file cannot be read: nobody knows what is hidden."""
    return file_of(own_rows(home, only_approved=only_approved))


def file_of(rows: Iterable[dict[str, Any]]) -> bytes:
    """The rows, oldest first, as a file."""
    rows = sorted(rows, key=lambda row: str(row.get("created_at")))
    return redact("".join(f"{json.dumps(row, ensure_ascii=False, allow_nan=False)}\n" for row in rows)).encode()


def rows_of(source: Path | None) -> Iterator[dict[str, Any]]:
    """The rows of a downloaded gallery.jsonl that are well formed, as far as a gallery needs it."""
    for row in atomic_io.iterate_lines(source) if source else ():
        if EXAMPLE.fullmatch(str(row.get("id"))) and is_usable(row) and len(json.dumps(row)) <= MAX_CHARACTERS:
            yield row


def is_example(row: dict[str, Any]) -> bool:
    """Whether the gallery can read the row as an example, as `gallery.example.read_example`."""
    loss, texts, remix_of = row.get("eval_loss", ""), row.get("texts"), row.get("remix_of", "")
    return (
        is_usable(row)
        and all(isinstance(row.get(name), str) for name in ("prompt", "revision", "repo", "run", "title", "created_at"))
        and isinstance(row.get("settings"), dict)
        and all(type(row.get(name)) is int for name in ("seed", "step"))
        and isinstance(texts, list)
        and len(texts) <= MAX_TEXTS
        and all(isinstance(text, str) for text in texts)
        and isinstance(remix_of, str)
        and (not remix_of or EXAMPLE.fullmatch(remix_of) is not None)
        and (loss is None or (isinstance(loss, (int, float)) and math.isfinite(loss)))
    )


def gallery_stamp(home: Home) -> int | None:
    """Changes whenever an example or its moderation does; None without a gallery."""
    try:
        return home.gallery.stat().st_mtime_ns
    except FileNotFoundError:
        return None


def digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def note_pushed(home: Home, repo: str) -> None:
    """Record that the gallery of this disk is that of the Hub: it was restored from there."""
    marker = {"stamp": gallery_stamp(home), "sha256": digest_of(gallery_file(home))}
    atomic_io.write_json(home.pushed_gallery(repo), marker)


def own_rows(home: Home, *, only_approved: bool = False) -> Iterator[dict[str, Any]]:
    """What every visitor of this home may see; of these with `only_approved` what the owner has approved."""
    states = atomic_io.read_json(home.gallery / "moderation.json") or {}
    for path in home.gallery.glob("????????.json"):
        example, state = atomic_io.readable_json(path), state_of(states.get(path.stem, UNTOUCHED))
        is_example = EXAMPLE.fullmatch(path.stem) and example.get("id") == path.stem and is_usable(example)
        if is_example and _is_public(state) and (state["is_approved"] or not only_approved):
            yield {**example, PINNED: state["is_pinned"]}


def state_of(value: object) -> dict[str, Any]:
    """The moderation of an example, as `gallery.moderation.State`; HIDDEN for a value that is none."""
    if not isinstance(value, dict):
        return HIDDEN
    value = {"is_approved": False, **value}  # an older one lacks it
    is_whole = (
        value.keys() == HIDDEN.keys()
        and type(value["is_hidden"]) is type(value["is_pinned"]) is type(value["is_approved"]) is bool
        and isinstance(value["reporters"], list)
        and all(isinstance(name, str) for name in value["reporters"])
        and type(value["num_settled"]) is int
    )
    return value if is_whole else HIDDEN


def _is_public(state: dict[str, Any]) -> bool:
    return not state["is_hidden"] and not _is_reported(state)


def _is_reported(state: dict[str, Any]) -> bool:
    return len(state["reporters"]) > state["num_settled"]


def taken_away(home: Home, ids: Iterable[str], *, only_approved: bool = False) -> frozenset[str]:
    """Of the ids, what the owner has deleted, hidden or, with `only_approved`, does not approve any more. A report alone
    takes nothing away: it is a stranger's.
    """
    states = atomic_io.read_json(home.gallery / "moderation.json") or {}
    deleted = {row.get("id") for row in atomic_io.iterate_lines(home.gallery / DELETED)}

    def is_taken(name: str) -> bool:
        if not (home.gallery / f"{name}.json").exists():
            return name in deleted
        state = state_of(states.get(name, UNTOUCHED))
        return state["is_hidden"] or (only_approved and not state["is_approved"])

    return frozenset(filter(is_taken, ids))


def reported(home: Home) -> frozenset[str]:
    """Ids of examples with reports that the owner has not answered."""
    states = atomic_io.read_json(home.gallery / "moderation.json") or {}
    return frozenset(name for name, value in states.items() if _is_reported(state_of(value)))


def restore_gallery(home: Home, source: Path, *, are_approved: bool = False) -> int:
    """Add the newest examples of a downloaded gallery.jsonl that this gallery lacks, as many as it has room for; returns
    how many. A row that is no example would be a file that nothing evicts. `are_approved`: only approved ones were pushed
    there. One that this gallery had before stays as its owner left it, unless it came from a repo, and nobody touched it.
    """
    path = home.gallery / "moderation.json"
    rows = {row["id"]: row for row in rows_of(source) if is_example(row)}
    with atomic_io.locked(home.gallery / ".lock"):
        present = {path.stem for path in home.gallery.glob("????????.json") if EXAMPLE.fullmatch(path.stem)}
        new = [name for name in rows if name not in present]
        new = new[max(0, len(new) - max(0, MAX_RESTORED - len(present))) :]
        pins = {name: rows[name].pop(PINNED, False) is True for name in new}
        states = atomic_io.read_json(path) or {}
        known = {str(row.get("id")) for row in atomic_io.iterate_lines(home.gallery / RESTORED)} & present & rows.keys()
        added = {name: states.get(name, PIN if pins[name] else UNTOUCHED) for name in new}
        if are_approved:
            added |= {name: state for name in known if (state := states.get(name, UNTOUCHED)) in (UNTOUCHED, PIN)}
            added = {name: {**state_of(state), "is_approved": True} for name, state in added.items()}
        changed = {name: state for name, state in added.items() if state != UNTOUCHED}
        if changed:  # first: after a kill in between, what lacks its file is restored again
            atomic_io.write_json(path, {**states, **changed})
        for name in new:
            atomic_io.append_line(home.gallery / RESTORED, {"id": name})
            atomic_io.write_json(home.gallery / f"{name}.json", rows[name])
    return len(new)
