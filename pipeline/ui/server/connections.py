"""Closes connections that cost the server more than the client.

Without a timeout, a connection that sends no complete request stays open for ever and uses a file descriptor. A body in
chunks of one byte is parsed in Python, chunk by chunk, before any limit applies: 1 MB a second blocks all responses.
"""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_HEADER_BYTES = 16 * 1024
HEADER_SECONDS = 10.0
"""Time limit for a request's headers, from its first byte or from the start of the connection."""


class _Parser(h11.Connection):
    """Rejects chunked bodies. Browsers and Gradio's clients send the length instead."""

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
        self._start_timer()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():  # refused: do not parse what follows
            return
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:  # guards.py limits the time of a body
            self._stop_timer()
        elif self._timer is None:
            self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def _start_timer(self) -> None:
        # The handler with which uvicorn closes idle connections.
        self._timer = self.loop.call_later(self.header_seconds, self.timeout_keep_alive_handler)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
