"""Moderation states of the examples (hidden, pinned, reported), in one separate file because examples never change."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.core import atomic_io
from pipeline.core.errors import DamagedError
from pipeline.gallery.cached import Cached

MAX_REPORTS = 20
"""Max unanswered reports of one example; more would only fill the file."""


@dataclass(frozen=True, kw_only=True)
class State:
    """The moderation state of one example."""

    is_hidden: bool = False
    is_pinned: bool = False
    is_approved: bool = False
    """Whether the owner lets it be pushed to the gallery's dataset on the Hub."""
    reporters: tuple[str, ...] = ()
    """Pseudonyms of all visitors who ever reported it, oldest first; each counts once."""
    num_settled: int = 0
    """Reports that the owner has answered by hiding or showing the example."""

    @property
    def num_reports(self) -> int:
        """Reports that the owner has not answered."""
        return len(self.reporters) - self.num_settled

    @property
    def may_leave(self) -> bool:
        """Whether it may be deleted when the gallery is full."""
        return not self.is_pinned and not self.is_approved and not self.num_reports

    def reported(self, by: str) -> State:
        if by in self.reporters or self.num_reports >= MAX_REPORTS:
            return self
        return replace(self, reporters=(*self.reporters, by))

    def settled(self, *, is_hidden: bool) -> State:
        return replace(self, is_hidden=is_hidden, num_settled=len(self.reporters))


UNTOUCHED = State()


class Moderation:
    """The file of moderation states. Callers that change it must hold the folder's lock; reading needs no lock."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._states = Cached(path, self._read)

    def states(self) -> Mapping[str, State]:
        """All states other than the default, by id. Raises DamagedError, so that hidden examples do not reappear."""
        return self._states.get()

    def of(self, example_id: str) -> State:
        return self.states().get(example_id, UNTOUCHED)

    def put(self, example_id: str, state: State, *, known: Collection[str]) -> None:
        """Replace the state of one example and drop the states of examples whose ids are not in `known`."""
        states = {**self.states(), example_id: state}
        kept = {name: asdict(state) for name, state in states.items() if state != UNTOUCHED and name in known}
        atomic_io.write_json(self._path, kept)

    def _read(self) -> dict[str, State]:
        try:
            found = atomic_io.read_json(self._path) or {}
            return {name: _state(value) for name, value in found.items()}
        except (DamagedError, KeyError, TypeError, ValueError) as error:
            # The message is public, so it names no folder.
            raise DamagedError(
                f"What is hidden in the gallery, {self._path.name}, cannot be read; restore that file or delete it."
            ) from error


def _state(value: dict[str, Any]) -> State:
    return State(
        is_hidden=bool(value["is_hidden"]),
        is_pinned=bool(value["is_pinned"]),
        is_approved=bool(value.get("is_approved", False)),  # an older one lacks it
        reporters=tuple(map(str, value["reporters"])),
        num_settled=int(value["num_settled"]),
    )
