"""What the owner and visitors decided about examples, in one file beside them: the examples themselves never change."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.core import atomic_io
from pipeline.core.errors import DamagedError
from pipeline.gallery.cached import Cached

MOST_REPORTS = 20
"""Of one example, until the owner decides: more would only fill the file."""


@dataclass(frozen=True, kw_only=True)
class State:
    """About one example."""

    is_hidden: bool = False
    is_pinned: bool = False
    reporters: tuple[str, ...] = ()
    """Pseudonyms of all who ever reported it, in order: each counts once."""
    num_settled: int = 0
    """Reports that the owner has answered, by hiding or showing it."""

    @property
    def num_reports(self) -> int:
        """Reports that wait for the owner."""
        return len(self.reporters) - self.num_settled

    @property
    def may_leave(self) -> bool:
        """Whether it makes room when the gallery is full."""
        return not self.is_pinned and not self.num_reports

    def reported(self, by: str) -> State:
        if by in self.reporters or self.num_reports >= MOST_REPORTS:
            return self
        return replace(self, reporters=(*self.reporters, by))

    def settled(self, *, is_hidden: bool) -> State:
        return replace(self, is_hidden=is_hidden, num_settled=len(self.reporters))


UNTOUCHED = State()


class Moderation:
    """The file. Whoever changes it holds the folder's lock; reading needs none."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._states = Cached(path, self._read)

    def states(self) -> Mapping[str, State]:
        """By id, of every example that anybody decided about. Raises DamagedError: what was hidden must not come back."""
        return self._states.get()

    def of(self, example_id: str) -> State:
        return self.states().get(example_id, UNTOUCHED)

    def put(self, example_id: str, state: State, *, known: Collection[str]) -> None:
        """Replace what is known of one example; forget those that are not among the ids `known` any more."""
        states = {**self.states(), example_id: state}
        kept = {name: asdict(state) for name, state in states.items() if state != UNTOUCHED and name in known}
        atomic_io.write_json(self._path, kept)

    def _read(self) -> dict[str, State]:
        try:
            found = atomic_io.read_json(self._path) or {}
            return {name: _state(value) for name, value in found.items()}
        except (
            DamagedError,
            KeyError,
            TypeError,
            ValueError,
        ) as error:  # strangers read the message: it names no folder
            raise DamagedError(
                f"What is hidden in the gallery, {self._path.name}, cannot be read; restore that file or delete it."
            ) from error


def _state(value: dict[str, Any]) -> State:
    return State(
        is_hidden=bool(value["is_hidden"]),
        is_pinned=bool(value["is_pinned"]),
        reporters=tuple(map(str, value["reporters"])),
        num_settled=int(value["num_settled"]),
    )
