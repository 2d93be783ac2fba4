"""Tracks Gradio's sessions, one for each open page or program: their owner, their listeners, and what to drop.

Gradio keeps a session's responses until they are read, and its state for an hour after its page was closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import sys
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from pipeline.ui.shared.visitors import Visitor

MAX_OF_EACH = 256
"""Sessions of one address: enough for the tabs of a class. The least recently used one is dropped first."""
MAX_SESSIONS = 2_048
MAX_STREAMS_OF_EACH = {True: 128, False: 300}
MAX_STREAMS = 4_000
"""Limits of open streams, per address and in total: response streams (True) and heartbeats of open pages (False). They
are counted separately, because a page works without its heartbeat.
"""
MAX_UNREAD_OF_EACH = 64
"""Events of one address that are pending, or whose response was not read."""
UNREAD_SECONDS = 30.0
"""How long unread responses are kept."""
GONE_SECONDS = 5.0
"""How long work continues after its visitor stopped listening: a reload takes a moment."""
SWEEP_SECONDS = 1.0


@dataclass
class _Session:
    visitor: Visitor
    listeners: int = 0
    """Open response streams."""
    heard_at: float = field(default_factory=time.monotonic)
    """When it last sent a request or stopped listening, in monotonic seconds."""


class Sessions:
    """The sessions of one page. Not thread-safe: use it only from the event loop."""

    def __init__(self, page: gr.Blocks, abandon: Callable[[str, str], None]) -> None:
        """`abandon(session_hash, cookie)` ends the work that a session waits for."""
        self._page = page
        self._abandon = abandon
        self._sessions: OrderedDict[str, _Session] = OrderedDict()
        self._streams: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
        """Open streams by address: response streams (True) and heartbeats (False)."""

    # ---- requests ----

    def is_new(self, session_hash: str) -> bool:
        return session_hash not in self._sessions

    def enter(self, session_hash: str, visitor: Visitor) -> bool:
        """Record a request of `visitor` in this session. False when the session's cookie is another browser's."""
        session = self._sessions.get(session_hash)
        if session is not None and session.visitor.cookie and session.visitor.cookie != visitor.cookie:
            return False
        if session is None:
            session = self._sessions[session_hash] = _Session(visitor)
        session.heard_at = time.monotonic()
        self._sessions.move_to_end(session_hash)
        return True

    def has_room(self, visitor: Visitor) -> bool:
        """Whether the address may send more events before it reads the responses to earlier ones."""
        waiting = self._queue.pending_event_ids_session.items()
        unread = sum(len(events) for name, events in waiting if self._address_of(name) == visitor.address)
        return unread < MAX_UNREAD_OF_EACH

    def _address_of(self, session_hash: str) -> str | None:
        session = self._sessions.get(session_hash)
        return session.visitor.address if session else None

    # ---- streams ----

    def of_event(self, event_id: str) -> str | None:
        """The session of an event; None when there is no such event, whose id Gradio would take for a session hash."""
        event = self._queue.event_ids_to_events.get(event_id)
        if event is not None:
            return str(event.session_hash)
        return next((name for name, ids in self._queue.pending_event_ids_session.items() if event_id in ids), None)

    def has_answers(self, session_hash: str) -> bool:
        """Whether Gradio has, or will have, responses for the session."""
        return session_hash in self._queue.pending_messages_per_session

    def open_stream(self, session_hash: str, visitor: Visitor, *, is_data: bool, is_owner: bool = False) -> bool:
        """Count a new stream. False when there are too many; the owner has no limit."""
        streams = self._streams[is_data]
        is_full = streams[visitor.address] >= MAX_STREAMS_OF_EACH[is_data] or streams.total() >= MAX_STREAMS
        if is_full and not is_owner:
            return False
        streams[visitor.address] += 1
        if is_data and session_hash in self._sessions:
            self._sessions[session_hash].listeners += 1
        return True

    def close_stream(self, session_hash: str, visitor: Visitor, *, is_data: bool) -> None:
        streams = self._streams[is_data]
        streams[visitor.address] -= 1
        if not streams[visitor.address]:
            del streams[visitor.address]
        if is_data and (session := self._sessions.get(session_hash)):
            session.listeners -= 1
            session.heard_at = time.monotonic()

    # ---- cleanup ----

    async def sweep_for_ever(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            await self.sweep(time.monotonic())

    async def sweep(self, now: float) -> None:
        """End the work of sessions that nobody listens to, and drop unread responses. `now`: monotonic seconds.

        Restarts Gradio's queue, which otherwise stays stopped after an internal error.
        """
        if self._queue.stopped:
            print("Gradio's queue had stopped; it is started again.", file=sys.stderr, flush=True)
            self._queue.stopped = False
            self._queue.start()
        for name in list(self._queue.pending_messages_per_session):
            session = self._sessions.get(name)
            silent_seconds = math.inf if session is None else 0.0 if session.listeners > 0 else now - session.heard_at
            if session is not None and silent_seconds >= GONE_SECONDS and name in self._working():
                self._abandon(name, session.visitor.cookie)
            if silent_seconds >= UNREAD_SECONDS:
                await self._drop(name)

    def _working(self) -> set[str]:
        """The sessions that wait for work that runs."""
        return {event.session_hash for events in self._queue.active_jobs if events for event in events}

    async def _drop(self, session_hash: str) -> None:
        await self._queue.clean_events(session_hash=session_hash)
        for by_session in (self._queue.pending_messages_per_session, self._queue.pending_event_ids_session):
            with contextlib.suppress(KeyError):
                del by_session[session_hash]

    async def make_place(self, address: str) -> bool:
        """Whether `address` may open a new session. At a limit, an older session is dropped first.

        At the limit per address, it is an unused one of that address; False if there is none. At the total limit, it is
        an unused one, if there is any, of the address with the most sessions; otherwise one in use of that address,
        because a few addresses could keep everybody out.
        """
        working = self._working()
        if len(self._sessions_of(address)) >= MAX_OF_EACH:
            unused = [name for name in self._sessions_of(address) if not self._is_used(name, working)]
            await self._forget(unused[:1])
            return bool(unused)
        if len(self._sessions) >= MAX_SESSIONS:
            unused = [name for name in self._sessions if not self._is_used(name, working)]
            candidates = unused or list(self._sessions)
            sizes = Counter(session.visitor.address for session in self._sessions.values())
            await self._forget([max(candidates, key=lambda name: sizes[self._sessions[name].visitor.address])])
        return True

    def _sessions_of(self, address: str) -> list[str]:
        """Hashes of the sessions of an address, the least recently used first."""
        return [name for name, session in self._sessions.items() if session.visitor.address == address]

    def _is_used(self, session_hash: str, working: set[str]) -> bool:
        session = self._sessions[session_hash]
        is_recent = session.listeners > 0 or session.heard_at > time.monotonic() - GONE_SECONDS
        return is_recent or session_hash in working

    async def _forget(self, names: list[str]) -> None:
        """Drop sessions with their work and their responses: limits per address count only known sessions."""
        for name in names:
            session = self._sessions.pop(name)
            if name in self._working():
                self._abandon(name, session.visitor.cookie)
            await self._drop(name)
            self._page.state_holder.session_data.pop(name, None)
            self._page.state_holder.time_last_used.pop(name, None)

    @property
    def _queue(self) -> Any:
        """Gradio's queue. No public method gives its state; tests check the versions in requirements.txt."""
        return self._page._queue
