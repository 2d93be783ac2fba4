"""Connections whose request does not come: they are closed, where the server itself waits for ever.

Each takes one of the files that the process may have open, so a stranger with a thousand of them would shut everybody out.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

HEADER_SECONDS = 10.0
"""How long a request's headers may take to arrive, from its first byte, or from the connection's beginning."""


class TimedConnection(H11Protocol):
    header_seconds = HEADER_SECONDS
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._time()

    def data_received(self, data: bytes) -> None:
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
