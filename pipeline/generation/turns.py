"""Lets one request compute at a time and passes the turn on after each token. Knows nothing of torch, models or pipes.

The turn goes round the visitors, and inside a visitor's share round their requests: five requests of one visitor get as
much as one request of another.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

State = TypeVar("State")


class Turn:
    """One request's part in the rotation."""

    def __init__(self, visitor: str) -> None:
        self.visitor = visitor
        self.is_paused = False
        self.arrived = threading.Semaphore(0)


class Turns(Generic[State]):
    """The rotation. `save` and `restore` keep what is global and must be each request's own: torch's random state."""

    def __init__(self, save: Callable[[], State], restore: Callable[[State], None]) -> None:
        self._save = save
        self._restore = restore
        self._lock = threading.Lock()
        self._waiting: dict[str, deque[Turn]] = {}
        """By visitor; the first visitor is the next."""
        self._is_taken = False

    @contextmanager
    def taken(self, turn: Turn) -> Iterator[None]:
        """Wait for the turn, and give it up at the end."""
        with self._lock:
            self._line_up(turn)
            self._give()
        turn.arrived.acquire()
        try:
            yield
        finally:
            with self._lock:
                self._is_taken = False
                self._give()

    def pass_on(self, turn: Turn) -> None:
        """Let the others have their turn first, if there are any; `turn` is the one that is taken."""
        with self._lock:
            if not turn.is_paused and self._next() is None:
                return
            state = self._save()
            self._line_up(turn)
            self._is_taken = False
            self._give()
        turn.arrived.acquire()
        self._restore(state)

    def pause(self, turn: Turn, is_paused: bool) -> None:
        """A paused request keeps its place in the rotation and is passed over."""
        with self._lock:
            turn.is_paused = is_paused
            self._give()

    def _line_up(self, turn: Turn) -> None:
        self._waiting.setdefault(turn.visitor, deque()).append(turn)

    def _next(self) -> Turn | None:
        waiting = (turn for turns in self._waiting.values() for turn in turns)
        return next((turn for turn in waiting if not turn.is_paused), None)

    def _give(self) -> None:
        """Hand the turn to the next one, unless somebody has it; that visitor goes to the end of the line."""
        if self._is_taken or (turn := self._next()) is None:
            return
        self._is_taken = True
        turns = self._waiting.pop(turn.visitor)
        turns.remove(turn)
        if turns:
            self._waiting[turn.visitor] = turns
        turn.arrived.release()
