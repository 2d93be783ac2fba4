"""The page's HTML, configuration and API description, which Gradio renders in 35 ms of a core for every request, rendered once
for each origin, compressed once, and sent with a policy that allows the page's own inline scripts by their hashes.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
from collections import OrderedDict
from dataclasses import dataclass

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.ui.headers import policy
from pipeline.ui.rates import Allowance
from pipeline.ui.texts import t

PATHS = frozenset({"/", "/config", "/gradio_api/info", "/theme.css"})
ORIGIN_HEADERS = (b"host", b"x-forwarded-host", b"x-forwarded-proto")
"""The headers from which Gradio makes the addresses in its answers."""
MAX_ENTRIES = 32
RENDER_COST = 50.0
"""In requests. It limits a visitor who names a new host with every request."""
INLINE_SCRIPT = re.compile(rb"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", re.DOTALL)


@dataclass(frozen=True)
class _Entry:
    media_type: str
    body: bytes
    compressed: bytes
    policy: str


class PageCache:
    """ASGI middleware directly before Gradio. Drops query strings of the cached paths: the page reads none on the server."""

    def __init__(self, app: ASGIApp, allowance: Allowance) -> None:
        self._app = app
        self._allowance = allowance
        self._entries: OrderedDict[tuple[object, ...], _Entry] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET" or scope["path"] not in PATHS:
            await self._app(scope, receive, send)
            return
        origin = [header for header in scope["headers"] if header[0] in ORIGIN_HEADERS]
        key = (scope["path"], scope["scheme"], *origin)
        entry = self._entries.get(key)
        if entry is None:
            if not self._allowance.take(HTTPConnection(scope), RENDER_COST):
                await PlainTextResponse(t("guards.rate"), 429)(scope, receive, send)
                return
            rendered = await self._render({**scope, "query_string": b"", "headers": origin}, receive)
            if isinstance(rendered, Response):
                await rendered(scope, receive, send)
                return
            entry = self._entries[key] = rendered
        self._entries.move_to_end(key)
        while len(self._entries) > MAX_ENTRIES:
            self._entries.popitem(last=False)
        await _answer(entry, scope)(scope, receive, send)

    async def _render(self, scope: Scope, receive: Receive) -> _Entry | Response:
        """Gradio's answer, or, when it is not 200, that answer as it is, which is not cached."""
        start: Message = {}
        parts: list[bytes] = []

        async def collect(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
            else:
                parts.append(message.get("body", b""))

        await self._app(scope, receive, collect)
        body = b"".join(parts)
        media_type = MutableHeaders(raw=start["headers"]).get("content-type", "")
        if start["status"] != 200:
            return Response(body, start["status"], media_type=media_type)
        return _Entry(media_type, body, gzip.compress(body, mtime=0), policy(_hashes(body)))


def _answer(entry: _Entry, scope: Scope) -> Response:
    can_unpack = "gzip" in HTTPConnection(scope).headers.get("accept-encoding", "")
    headers = {"content-type": entry.media_type, "content-security-policy": entry.policy, "vary": "accept-encoding"}
    if can_unpack:
        headers["content-encoding"] = "gzip"
    return Response(entry.compressed if can_unpack else entry.body, headers=headers)


def _hashes(page: bytes) -> list[str]:
    """What a policy calls the inline scripts of `page`."""
    scripts = INLINE_SCRIPT.findall(page)
    return [f"'sha256-{base64.b64encode(hashlib.sha256(script).digest()).decode()}'" for script in scripts]
