"""Stores the saved examples: one JSON file each in the gallery folder, named by a short id that is used in its link.

An example never changes and is self-contained: it has the prompt, the settings, the generated texts and the revision's
facts, so its link works even after the revision was deleted. The folder also has `moderation.json` (hidden, pinned,
reported), `deleted.jsonl` (ids of what the owner deleted) and the quota logs `keeps.jsonl` and `reports.jsonl` (the actions of each visitor within a day).
"""

from __future__ import annotations

import math
import secrets
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.artifacts.revision import Revision
from pipeline.core import atomic_io
from pipeline.core.errors import DamagedError, InputError, require
from pipeline.core.settings import Limits
from pipeline.gallery.example import ID, Example, check, read_example, recent_example, title_of
from pipeline.gallery.index import Index
from pipeline.gallery.moderation import UNTOUCHED, Moderation, State
from pipeline.gallery.quota import Pseudonyms, Quota
from pipeline.gallery.search import Entry, Query
from pipeline.hub.gallery_file import DELETED

ALPHABET = string.ascii_lowercase + string.digits
MAX_EXAMPLES = 5_000
"""Above this, the oldest example is deleted for each new one."""
PAGE_EXAMPLES = 24
MAX_RUNS = 200
"""Runs to choose from; examples of others are found by their words."""
KEEPS_PER_HOUR, KEEPS_PER_DAY = 10, 30
"""Max examples that one visitor may save."""
REPORTS_PER_HOUR, REPORTS_PER_DAY = 20, 60
"""Max reports that one visitor may send."""
ALL = Query()


class HiddenError(InputError):
    """The owner hid this example from visitors."""


@dataclass(frozen=True)
class Kept:
    """The result of `keep`: a new example, or the existing one with the same result."""

    example: Example
    is_new: bool


@dataclass(frozen=True, kw_only=True)
class ExamplesPage:
    """One page of the gallery."""

    examples: list[Example]
    number: int
    """1-based; a requested number out of range is clamped to the nearest page."""
    num_pages: int
    num_examples: int
    """On all pages."""
    runs: list[str]
    """Runs with examples that may be seen, newest example first: at most MAX_RUNS."""
    num_damaged: int
    """Files that cannot be read; they are on no page."""
    num_reported: int
    """Examples on all pages with reports that the owner has not answered."""
    states: Mapping[str, State]
    """The moderation state of the examples on this page, by id."""


class Examples:
    """One gallery folder. The constructor creates no files; several processes may write and read concurrently."""

    def __init__(self, folder: Path, limits: Limits | None = None) -> None:
        self.folder = folder
        self.limits = limits or Limits()
        self._index = Index(folder)
        self._moderation = Moderation(folder / "moderation.json")
        self._pseudonyms = Pseudonyms(folder / "visitors.salt")
        self._keeps = Quota(
            path=folder / "keeps.jsonl", per_hour=KEEPS_PER_HOUR, per_day=KEEPS_PER_DAY, deed="Examples kept"
        )
        self._reports = Quota(
            path=folder / "reports.jsonl", per_hour=REPORTS_PER_HOUR, per_day=REPORTS_PER_DAY, deed="Reports"
        )

    # ---- keeping ----

    def keep(
        self,
        *,
        prompt: str,
        settings: dict[str, Any],
        seed: int,
        revision: Revision,
        texts: Sequence[str],
        title: str = "",
        remix_of: str = "",
        kept_by: str,
    ) -> Kept:
        """Save a result; an empty title is replaced by the last line of the prompt. `remix_of`: id of the example that it
        began from. The quota is counted per visitor
        `kept_by`; "" is the owner, who has no quota. A result that is already saved is returned as it is, at no cost.

        Raises InputError when a part is too large or no example may be deleted from a full gallery, QuotaError when the
        visitor has used up the quota, HiddenError when the owner hid this same result.
        """
        check(prompt, settings, texts, title, self.limits)
        result = Example(
            id="",
            prompt=prompt,
            settings=settings,
            seed=seed,
            revision=revision.revision,
            repo=revision.repo,
            run=revision.run,
            step=revision.step,
            eval_loss=revision.eval_loss,
            texts=list(texts),
            title=title_of(title, prompt),
            created_at="",
            remix_of=remix_of if ID.fullmatch(remix_of) else "",
        )
        with atomic_io.locked(self._lock):
            if (duplicate_id := self._find_duplicate(result)) is not None:
                return Kept(self.get(duplicate_id, include_hidden=not kept_by), is_new=False)
            evicted_ids = self._ids_to_evict()
            if kept_by:
                self._keeps.take(self._pseudonyms.of(kept_by))
            atomic_io.clear_leftovers(self.folder)
            now = datetime.now(UTC).isoformat(timespec="microseconds")
            example = replace(result, id=self._free_id(), created_at=now)
            atomic_io.write_json(self._path(example.id), example.to_dict())
            for example_id in evicted_ids:
                self._path(example_id).unlink(missing_ok=True)
        return Kept(example, is_new=True)

    def _find_duplicate(self, result: Example) -> str | None:
        return self._index.listing().ids.get(result.fingerprint)

    def _ids_to_evict(self) -> list[str]:
        """The id of the oldest example that may be deleted, when the gallery is full and one is added: never more, however
        many came from elsewhere. Raises InputError when none may be deleted.
        """
        listing, states = self._index.listing(), self._moderation.states()
        if listing.num_files < MAX_EXAMPLES:
            return []
        oldest = [entry.id for entry in reversed(listing.entries) if states.get(entry.id, UNTOUCHED).may_leave]
        full = f"{listing.num_files:,} examples, all of the oldest pinned, approved or reported"
        require(bool(oldest), "gallery", full, "the owner has to delete or unpin some first")
        return oldest[:1]

    def _free_id(self) -> str:
        while True:
            example_id = "".join(secrets.choice(ALPHABET) for _ in range(8))
            if not self._path(example_id).exists():
                return example_id

    # ---- reading ----

    def get(self, example_id: str, *, include_hidden: bool = False) -> Example:
        """Raises InputError when there is no such example, HiddenError when the owner hid it, DamagedError when its file
        cannot be read.
        """
        self._require_exists(example_id)
        if not include_hidden and self._moderation.of(example_id).is_hidden:
            raise HiddenError(f"Example {example_id} was hidden by the owner of this page; the Gallery lists others.")
        example = read_example(self._path(example_id))
        if example is None:
            raise DamagedError(f"Example {example_id} cannot be read; its file in the gallery folder is damaged.")
        return example

    def state(self, example_id: str) -> State:
        return self._moderation.of(example_id)

    def read_index(self) -> None:
        """Read all files, so that the first page does not wait for it: half a second for 5,000 examples."""
        self._index.listing()

    def page(
        self, number: int, query: Query = ALL, *, include_hidden: bool = False, reported_first: bool = False
    ) -> ExamplesPage:
        """One page of what matches, newest first. With `reported_first`, the examples with the most unanswered reports
        come first.
        """
        listing, states = self._index.listing(), self._moderation.states()
        entries: Sequence[Entry] = listing.entries
        if not include_hidden:
            entries = [entry for entry in entries if not states.get(entry.id, UNTOUCHED).is_hidden]
        ids = [entry.id for entry in entries if query.matches(entry)]
        reports = {found: state.num_reports for found in ids if (state := states.get(found)) and state.num_reports}
        if reported_first:
            ids.sort(key=lambda found: -reports.get(found, 0))
        num_pages = max(1, math.ceil(len(ids) / PAGE_EXAMPLES))
        number = min(max(number, 1), num_pages)
        shown = ids[(number - 1) * PAGE_EXAMPLES : number * PAGE_EXAMPLES]
        examples = [example for example in map(recent_example, map(self._path, shown)) if example is not None]
        return ExamplesPage(
            examples=examples,
            number=number,
            num_pages=num_pages,
            num_examples=len(ids),
            runs=list(dict.fromkeys(entry.run for entry in entries if entry.run))[:MAX_RUNS],
            num_damaged=len(listing.damaged),
            num_reported=len(reports),
            states={found: states.get(found, UNTOUCHED) for found in shown},
        )

    # ---- moderation ----

    def report(self, example_id: str, by: str) -> bool:
        """Record that the visitor `by` asks the owner to review the example; False when this visitor already did.

        Raises InputError when there is no such example, HiddenError when it is hidden, DamagedError when its file
        cannot be read, QuotaError when the visitor has used up the quota.
        """
        self.get(example_id)
        with atomic_io.locked(self._lock):
            pseudonym, state = self._pseudonyms.of(by), self.state(example_id)
            if pseudonym in state.reporters:
                return False
            self._reports.take(pseudonym)
            self._put(example_id, state.reported(pseudonym))
        return True

    def hide(self, example_id: str) -> None:
        """Hide the example from visitors, in lists and under its link. Marks its reports as answered."""
        self._settle(example_id, is_hidden=True)

    def show(self, example_id: str) -> None:
        """Show the example to visitors again. Marks its reports as answered."""
        self._settle(example_id, is_hidden=False)

    def pin(self, example_id: str) -> None:
        """Protect the example from deletion when the gallery is full."""
        self._pin(example_id, is_pinned=True)

    def unpin(self, example_id: str) -> None:
        self._pin(example_id, is_pinned=False)

    def approve(self, example_id: str) -> None:
        """Let the example be pushed to the gallery's dataset on the Hub; it is then not deleted when the gallery is full."""
        self._approve(example_id, is_approved=True)

    def disapprove(self, example_id: str) -> None:
        """Take the example out of the dataset."""
        self._approve(example_id, is_approved=False)

    def delete(self, example_id: str) -> None:
        """Delete the example permanently; its link no longer works."""
        self._require_exists(example_id)
        with atomic_io.locked(self._lock):
            # The record first: one that is gone without it was not deleted by the owner, and stays on the Hub. Then the
            # file, so that a hidden example is never visible in between.
            atomic_io.append_line(self.folder / DELETED, {"id": example_id})
            self._path(example_id).unlink(missing_ok=True)
            self._put(example_id, UNTOUCHED)

    def _settle(self, example_id: str, *, is_hidden: bool) -> None:
        self._require_exists(example_id)
        with atomic_io.locked(self._lock):
            self._put(example_id, self.state(example_id).settled(is_hidden=is_hidden))

    def _pin(self, example_id: str, *, is_pinned: bool) -> None:
        self._require_exists(example_id)
        with atomic_io.locked(self._lock):
            self._put(example_id, replace(self.state(example_id), is_pinned=is_pinned))

    def _approve(self, example_id: str, *, is_approved: bool) -> None:
        self._require_exists(example_id)
        with atomic_io.locked(self._lock):
            self._put(example_id, replace(self.state(example_id), is_approved=is_approved))

    def _put(self, example_id: str, state: State) -> None:
        listing = self._index.listing()
        ids = listing.damaged.union(entry.id for entry in listing.entries)
        self._moderation.put(example_id, state, known=ids)

    # ---- the folder ----

    @property
    def _lock(self) -> Path:
        """Lock file that serializes all writes: ids, quotas and moderation states."""
        return self.folder / ".lock"

    def _require_exists(self, example_id: str) -> None:
        if not ID.fullmatch(example_id) or not self._path(example_id).exists():
            raise InputError(f"There is no example {example_id[:20]!r}; the Gallery lists those there are.")

    def _path(self, example_id: str) -> Path:
        return self.folder / f"{example_id}.json"
