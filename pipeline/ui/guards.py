"""What every HTTP request must pass before Gradio sees it: a known host, its own origin, a small body, an open path.

Gradio itself checks none of these. A host name check stops DNS rebinding, an origin check stops other sites from
pressing buttons with a visitor's cookies, and the closed paths take files or fetch addresses for strangers.
"""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.settings import Settings
from pipeline.ui.access import as_address, host_name, is_loopback
from pipeline.ui.texts import t

MOST_BODY_BYTES = 1_000_000
READING = ("GET", "HEAD", "OPTIONS")
CLOSED_PATHS = tuple(
    f"/gradio_api/{name}"
    for name in ("upload", "proxy=", "process_recording", "deep_link", "file=http:", "file=https:", "file/http")
)
"""Uploads, proxies and writers that no part of this page uses."""


class Guards:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, settings: Settings, most_body_bytes: int = MOST_BODY_BYTES) -> None:
        self._app = app
        self._settings = settings
        self._most_body_bytes = most_body_bytes
        self._is_local = is_loopback(settings.server_name)
        self._names = {
            name.lower() for name in (socket.gethostname(), settings.server_name, settings.space_host) if name
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # the server's start and stop
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope["method"], scope["path"], Headers(scope=scope))
        if refusal:
            status, text = refusal
            await PlainTextResponse(text, status)(scope, receive, send)
            return
        await self._app(scope, self._counted(receive), send)

    def _refusal(self, method: str, path: str, headers: Headers) -> tuple[int, str] | None:
        host = headers.get("host", "")
        if not self._is_known(host_name(host)):
            return 421, t("guards.host", host=host)
        if method not in READING and not self._is_own_origin(headers, host):
            return 403, t("guards.origin")
        if path.lower().startswith(CLOSED_PATHS):
            return 403, t("guards.path")
        if int(headers.get("content-length") or 0) > self._most_body_bytes:
            return 413, t("guards.body", most=self._most_body_bytes)
        return None

    def _is_known(self, name: str) -> bool:
        """Loopback always: Gradio asks itself at start. An address cannot be rebound, so off loopback it is as good."""
        if is_loopback(name) or name in self._names:
            return True
        return not self._is_local and as_address(name) is not None

    def _is_own_origin(self, headers: Headers, host: str) -> bool:
        """Whether the page itself asks. A program sends neither header and carries nobody's cookies."""
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return False
        origin = headers.get("origin")
        return origin is None or urlsplit(origin).netloc.lower() in (host.lower(), self._settings.space_host)

    def _counted(self, receive: Receive) -> Receive:
        """`receive` that ends a body which is longer than it said, or never said how long it is."""
        num_bytes = 0

        async def counted() -> Message:
            nonlocal num_bytes
            message = await receive()
            num_bytes += len(message.get("body", b""))
            if num_bytes > self._most_body_bytes:
                raise HTTPException(413, t("guards.body", most=self._most_body_bytes))
            return message

        return counted
