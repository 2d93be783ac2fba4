"""Closes connections that cost the server more than they cost a stranger.

A request that does not come would keep its connection for ever, and each takes one of the files that the process may have open.
A body in chunks of one byte is parsed in Python, chunk by chunk, before any limit sees it: 1 MB a second stops every answer.
"""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_HEADER_BYTES = 16 * 1024
HEADER_SECONDS = 10.0
"""How long a request's headers may take to arrive, from its first byte, or from the connection's beginning."""


class _Parser(h11.Connection):
    """Takes no body in chunks. Browsers and the clients of Gradio send its length."""

    def next_event(self) -> Any:
        event = super().next_event()
        if isinstance(event, h11.Request) and any(name == b"transfer-encoding" for name, _ in event.headers):
            raise h11.RemoteProtocolError("a body without its length")
        return event


class TimedConnection(H11Protocol):
    header_seconds = HEADER_SECONDS
    _timer: asyncio.TimerHandle | None = None

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.conn = _Parser(h11.SERVER, MAX_HEADER_BYTES)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._time()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():  # refused: what still comes is not parsed
            return
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:  # a body has a limit of its own: guards.py
            self._stop_timer()
        elif self._timer is None:
            self._time()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def _time(self) -> None:
        # What closes an idle connection closes this one as well.
        self._timer = self.loop.call_later(self.header_seconds, self.timeout_keep_alive_handler)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
