"""GET /studio/changes: the version of what the page shows, and how long to wait until the next poll."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from pipeline.ui.shared.live_home import LiveHome, Snapshot
from pipeline.ui.shared.threads import wait_for


def changes(live: LiveHome) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint. However many pages poll at once, one thread reads."""
    pending: asyncio.Future[Snapshot] | None = None

    async def answer(request: Request) -> Response:
        nonlocal pending
        reading = live.known()
        if reading is None:
            if pending is None or pending.done():
                pending = asyncio.ensure_future(wait_for(live.reading))
            reading = await asyncio.shield(pending)
        content = {"version": reading.version, "seconds": reading.seconds}
        return JSONResponse(content, headers={"cache-control": "no-store"})

    return answer
