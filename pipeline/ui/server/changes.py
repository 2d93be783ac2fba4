"""GET /studio/changes: the version of what the page shows, and how long to wait until the next poll."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from pipeline.ui.shared.live_home import LiveHome
from pipeline.ui.shared.threads import wait_for


def changes(live: LiveHome) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        reading = live.known()
        if reading is None:
            reading = await wait_for(live.reading)
        return JSONResponse(
            {"version": reading.version, "seconds": reading.seconds}, headers={"cache-control": "no-store"}
        )

    return answer
