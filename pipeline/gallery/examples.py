"""Examples that people kept: one JSON file each in the gallery folder, named by a short id that goes into a link.

An example never changes and needs nothing else to be shown: it holds the prompt, the settings, what was written, and
which revision wrote it. Whoever opens the link sees that, also after the revision is gone. Beside them lie
`moderation.json` (hidden, pinned, reported), `keeps.jsonl` and `reports.jsonl` (what each visitor did within a day).
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

ALPHABET = string.ascii_lowercase + string.digits
MOST_EXAMPLES = 5_000
"""Then the oldest one makes room."""
PAGE_EXAMPLES = 24
KEEPS_PER_HOUR, KEEPS_PER_DAY = 10, 30
"""Of one visitor."""
REPORTS_PER_HOUR, REPORTS_PER_DAY = 20, 60
"""Of one visitor."""


class HiddenError(InputError):
    """The owner hid this example from visitors."""


@dataclass(frozen=True)
class Kept:
    """What `keep` leaves: a new example, or the one that was there already."""

    example: Example
    is_new: bool


@dataclass(frozen=True, kw_only=True)
class ExamplesPage:
    """Some of the examples, as a reader turns the pages."""

    examples: list[Example]
    number: int
    """From 1; the last page when there is none of the number that was asked for."""
    num_pages: int
    num_examples: int
    """On all pages."""
    num_damaged: int
    """Files that cannot be read, and are on no page."""
    num_reported: int
    """Examples, on all pages, with reports that wait for the owner."""
    states: Mapping[str, State]
    """What was decided about the examples of this page, by id."""


class Examples:
    """One gallery folder. Making one creates nothing; several processes may keep and read at once."""

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
        kept_by: str,
    ) -> Kept:
        """Keep a result; without a title it gets the last line of its prompt. `kept_by` is whom the quota counts; it does not
        count the owner, who is "". A result that is there already costs nothing and is returned as it is.

        Raises InputError for what is too large, QuotaError, HiddenError, and InputError when nothing can make room.
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
        )
        with atomic_io.locked(self._lock):
            if (there := self._same_as(result)) is not None:
                return Kept(self.get(there, include_hidden=not kept_by), is_new=False)
            leaving = self._leaving()
            if kept_by:
                self._keeps.take(self._pseudonyms.of(kept_by))
            atomic_io.clear_leftovers(self.folder)
            now = datetime.now(UTC).isoformat(timespec="microseconds")
            example = replace(result, id=self._free_id(), created_at=now)
            atomic_io.write_json(self._path(example.id), example.to_dict())
            for example_id in leaving:
                self._path(example_id).unlink(missing_ok=True)
        return Kept(example, is_new=True)

    def _same_as(self, result: Example) -> str | None:
        return self._index.listing().ids.get(result.fingerprint)

    def _leaving(self) -> list[str]:
        """The oldest examples that must leave before another one comes. Raises InputError when too few may."""
        listing, states = self._index.listing(), self._moderation.states()
        surplus = listing.num_files + 1 - MOST_EXAMPLES
        if surplus <= 0:
            return []
        oldest = [entry.id for entry in reversed(listing.entries) if states.get(entry.id, UNTOUCHED).may_leave]
        full = f"{listing.num_files:,} examples, all of the oldest pinned or reported"
        require(len(oldest) >= surplus, "gallery", full, "the owner has to delete or unpin some first")
        return oldest[:surplus]

    def _free_id(self) -> str:
        while True:
            found = "".join(secrets.choice(ALPHABET) for _ in range(8))
            if not self._path(found).exists():
                return found

    # ---- reading ----

    def get(self, example_id: str, *, include_hidden: bool = False) -> Example:
        """Raises InputError when there is no such example, HiddenError when the owner hid it, DamagedError when its file
        cannot be read.
        """
        self._require_there(example_id)
        if not include_hidden and self._moderation.of(example_id).is_hidden:
            raise HiddenError(f"Example {example_id} was hidden by the owner of this page; the Gallery lists others.")
        example = read_example(self._path(example_id))
        if example is None:
            raise DamagedError(f"Example {example_id} cannot be read; its file in the gallery folder is damaged.")
        return example

    def state(self, example_id: str) -> State:
        return self._moderation.of(example_id)

    def page(self, number: int, *, include_hidden: bool = False, reported_first: bool = False) -> ExamplesPage:
        """Newest first; with `reported_first`, those with most unanswered reports before the others."""
        listing, states = self._index.listing(), self._moderation.states()
        ids = [entry.id for entry in listing.entries]
        if not include_hidden:
            ids = [found for found in ids if not states.get(found, UNTOUCHED).is_hidden]
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
            num_damaged=len(listing.damaged),
            num_reported=len(reports),
            states={found: states.get(found, UNTOUCHED) for found in shown},
        )

    # ---- moderation ----

    def report(self, example_id: str, by: str) -> bool:
        """Count the visitor `by` as one who finds that the owner should look at it; False when that was counted already.

        Raises InputError when visitors see no such example, QuotaError.
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
        """Leave it out for visitors, in lists and under its link; its reports are answered."""
        self._settle(example_id, is_hidden=True)

    def show(self, example_id: str) -> None:
        """Let visitors see it; its reports are answered."""
        self._settle(example_id, is_hidden=False)

    def pin(self, example_id: str) -> None:
        """Never let it make room for a newer one."""
        self._pin(example_id, is_pinned=True)

    def unpin(self, example_id: str) -> None:
        self._pin(example_id, is_pinned=False)

    def delete(self, example_id: str) -> None:
        """For good: its link leads nowhere afterwards."""
        self._require_there(example_id)
        with atomic_io.locked(self._lock):
            self._path(example_id).unlink(missing_ok=True)  # first the file: what was hidden is never seen in between
            self._put(example_id, UNTOUCHED)

    def _settle(self, example_id: str, *, is_hidden: bool) -> None:
        self._require_there(example_id)
        with atomic_io.locked(self._lock):
            self._put(example_id, self.state(example_id).settled(is_hidden=is_hidden))

    def _pin(self, example_id: str, *, is_pinned: bool) -> None:
        self._require_there(example_id)
        with atomic_io.locked(self._lock):
            self._put(example_id, replace(self.state(example_id), is_pinned=is_pinned))

    def _put(self, example_id: str, state: State) -> None:
        listing = self._index.listing()
        known = listing.damaged.union(entry.id for entry in listing.entries)
        self._moderation.put(example_id, state, known=known)

    # ---- the folder ----

    @property
    def _lock(self) -> Path:
        """Held while anything is written: one id, one quota, one list of decisions at a time."""
        return self.folder / ".lock"

    def _require_there(self, example_id: str) -> None:
        if not ID.fullmatch(example_id) or not self._path(example_id).exists():
            raise InputError(f"There is no example {example_id[:20]!r}; the Gallery lists those there are.")

    def _path(self, example_id: str) -> Path:
        return self.folder / f"{example_id}.json"
