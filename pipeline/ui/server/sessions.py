"""Gradio's sessions, one for each open page or program: whose they are, who still listens, and what is dropped when nobody does.

Gradio keeps what a session was answered until somebody reads it, and a session's state for an hour after its page was closed.
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

MOST_OF_EACH = 256
"""Sessions of one address: the tabs of a class. The one that was used longest ago goes first."""
MOST_SESSIONS = 2_048
MOST_STREAMS_OF_EACH = {True: 128, False: 300}
MOST_STREAMS = 4_000
"""Open connections that answers come through (True), and heartbeats of open pages (False), each counted by itself: a page
works without its heartbeat.
"""
MOST_UNREAD_OF_EACH = 64
"""Events of one address that are not answered, or whose answer was not read."""
UNREAD_SECONDS = 30.0
"""How long answers wait for a reader."""
GONE_SECONDS = 5.0
"""How long work goes on whose visitor listens no more: a reload takes a moment."""
SWEEP_SECONDS = 1.0


@dataclass
class _Session:
    visitor: Visitor
    listeners: int = 0
    """Open streams of answers."""
    heard_at: float = field(default_factory=time.monotonic)
    """When it last asked or stopped listening."""


class Sessions:
    """Of one page. Used from its event loop alone."""

    def __init__(self, page: gr.Blocks, abandon: Callable[[str, str], None]) -> None:
        """`abandon`: ends what a session, by its hash and its cookie, waits for."""
        self._page = page
        self._abandon = abandon
        self._sessions: OrderedDict[str, _Session] = OrderedDict()
        self._streams: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
        """Open streams of each address: of answers, and heartbeats."""

    # ---- requests ----

    def is_new(self, session_hash: str) -> bool:
        return session_hash not in self._sessions

    def enter(self, session_hash: str, visitor: Visitor) -> bool:
        """Note that `visitor` asks in this session. False when it is another browser's: its cookie says so."""
        session = self._sessions.get(session_hash)
        if session is not None and session.visitor.cookie and session.visitor.cookie != visitor.cookie:
            return False
        if session is None:
            session = self._sessions[session_hash] = _Session(visitor)
        session.heard_at = time.monotonic()
        self._sessions.move_to_end(session_hash)
        return True

    def has_room(self, visitor: Visitor) -> bool:
        """Whether the address may ask for more before it reads what it was answered."""
        waiting = self._queue.pending_event_ids_session.items()
        unread = sum(len(events) for name, events in waiting if self._address_of(name) == visitor.address)
        return unread < MOST_UNREAD_OF_EACH

    def _address_of(self, session_hash: str) -> str | None:
        session = self._sessions.get(session_hash)
        return session.visitor.address if session else None

    # ---- streams ----

    def of_event(self, event_id: str) -> str | None:
        """The session of an event; None when there is no such event, which Gradio would take for a session's name."""
        event = self._queue.event_ids_to_events.get(event_id)
        if event is not None:
            return str(event.session_hash)
        return next((name for name, ids in self._queue.pending_event_ids_session.items() if event_id in ids), None)

    def has_answers(self, session_hash: str) -> bool:
        """Whether Gradio knows of anything that the session was or will be answered."""
        return session_hash in self._queue.pending_messages_per_session

    def open_stream(self, session_hash: str, visitor: Visitor, *, is_data: bool, is_owner: bool = False) -> bool:
        """False when there are too many. The owner's are never too many."""
        streams = self._streams[is_data]
        is_full = streams[visitor.address] >= MOST_STREAMS_OF_EACH[is_data] or streams.total() >= MOST_STREAMS
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

    # ---- what nobody waits for ----

    async def sweep_for_ever(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            await self.sweep(time.monotonic())

    async def sweep(self, now: float) -> None:
        """End the work of sessions that nobody listens to, and drop answers that nobody read. Gradio's queue ends for good at
        an error of its own; it is started again.
        """
        if self._queue.stopped:
            print("Gradio's queue had stopped; it is started again.", file=sys.stderr, flush=True)
            self._queue.stopped = False
            self._queue.start()
        for name in list(self._queue.pending_messages_per_session):
            session = self._sessions.get(name)
            silent = math.inf if session is None else 0.0 if session.listeners > 0 else now - session.heard_at
            if session is not None and silent >= GONE_SECONDS and self._is_working(name):
                self._abandon(name, session.visitor.cookie)
            if silent >= UNREAD_SECONDS:
                await self._drop(name)

    def _is_working(self, session_hash: str) -> bool:
        return any(
            event.session_hash == session_hash for events in self._queue.active_jobs if events for event in events
        )

    async def _drop(self, session_hash: str) -> None:
        await self._queue.clean_events(session_hash=session_hash)
        for kept in (self._queue.pending_messages_per_session, self._queue.pending_event_ids_session):
            with contextlib.suppress(KeyError):
                del kept[session_hash]

    def make_place(self, address: str) -> bool:
        """Whether a new session of `address` may be. When there are as many as may be, an older one is forgotten: of the address
        itself, one that nobody uses; of all, one of the address that has most, in use or not, as else a few addresses could
        keep everybody out.
        """
        if len(self._of(address)) >= MOST_OF_EACH:
            unused = [name for name in self._of(address) if not self._is_used(name)]
            self._forget(unused[:1])
            return bool(unused)
        if len(self._sessions) >= MOST_SESSIONS:
            [(largest, _)] = Counter(session.visitor.address for session in self._sessions.values()).most_common(1)
            self._forget(sorted(self._of(largest), key=self._is_used)[:1])
        return True

    def _of(self, address: str) -> list[str]:
        """The sessions of an address, the one that was used longest ago first."""
        return [name for name, session in self._sessions.items() if session.visitor.address == address]

    def _is_used(self, session_hash: str) -> bool:
        session = self._sessions[session_hash]
        is_heard = session.listeners > 0 or session.heard_at > time.monotonic() - GONE_SECONDS
        return is_heard or self._is_working(session_hash)

    def _forget(self, names: list[str]) -> None:
        for name in names:
            del self._sessions[name]
            self._page.state_holder.session_data.pop(name, None)
            self._page.state_holder.time_last_used.pop(name, None)

    @property
    def _queue(self) -> Any:
        """Gradio's own, whose insides no method shows: checked by the tests for the versions that requirements.txt allows."""
        return self._page._queue
