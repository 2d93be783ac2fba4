"""Round-robin scheduler: one request computes at a time, for one token. Does not depend on torch, models or pipes.

Turns rotate over the visitors, and within a visitor over that visitor's requests, so five requests of one visitor
together get as many turns as one request of another.
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
    """The rotation. `save` and `restore` give each request its own copy of a global state: torch's random state."""

    def __init__(self, save: Callable[[], State], restore: Callable[[State], None]) -> None:
        self._save = save
        self._restore = restore
        self._lock = threading.Lock()
        self._waiting: dict[str, deque[Turn]] = {}
        """Queued turns by visitor; the first visitor is next."""
        self._is_taken = False

    @contextmanager
    def taken(self, turn: Turn) -> Iterator[None]:
        """Wait for the turn, and release it at the end."""
        with self._lock:
            self._enqueue(turn)
            self._grant_next()
        turn.arrived.acquire()
        try:
            yield
        finally:
            with self._lock:
                self._is_taken = False
                self._grant_next()

    def pass_on(self, turn: Turn) -> None:
        """Let the other requests have their turn first, if any are waiting. The caller must have taken `turn`."""
        with self._lock:
            if not turn.is_paused and self._next() is None:
                return
            state = self._save()
            self._enqueue(turn)
            self._is_taken = False
            self._grant_next()
        turn.arrived.acquire()
        self._restore(state)

    def pause(self, turn: Turn, is_paused: bool) -> None:
        """Pause or resume a request. A paused one stays in the rotation but is skipped."""
        with self._lock:
            turn.is_paused = is_paused
            self._grant_next()

    def _enqueue(self, turn: Turn) -> None:
        self._waiting.setdefault(turn.visitor, deque()).append(turn)

    def _next(self) -> Turn | None:
        waiting = (turn for turns in self._waiting.values() for turn in turns)
        return next((turn for turn in waiting if not turn.is_paused), None)

    def _grant_next(self) -> None:
        """Give the turn to the next request, unless one has it already. Its visitor moves to the end of the queue."""
        if self._is_taken or (turn := self._next()) is None:
            return
        self._is_taken = True
        turns = self._waiting.pop(turn.visitor)
        turns.remove(turn)
        if turns:
            self._waiting[turn.visitor] = turns
        turn.arrived.release()
