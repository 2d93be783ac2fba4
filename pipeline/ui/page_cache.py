"""Renders the page's HTML, configuration and API description once for each origin. Gradio renders them for every request, in
35 ms of a core.

The answers are compressed once. The hashes of their inline scripts go to headers.py, whose policy allows no others.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import re
import time
from collections import OrderedDict
from dataclasses import dataclass

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.ui.headers import INLINE_SCRIPTS
from pipeline.ui.rates import Allowance
from pipeline.ui.texts import t
from pipeline.ui.wrong_keys import Window

PATHS = frozenset({"/", "/config", "/gradio_api/info", "/theme.css"})
MAX_ENTRIES = 32
MAX_RENDERINGS, RENDERINGS_SECONDS = 16, 10.0
"""Of all visitors together: many addresses that name ever new hosts must not keep the server busy."""
RENDER_COST = 50.0
"""In requests. It limits a visitor who names a new host with every request."""
INLINE_SCRIPT = re.compile(rb"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", re.DOTALL)


Origin = tuple[str, str, bool]


@dataclass(frozen=True)
class _Entry:
    media_type: str
    body: bytes
    compressed: bytes
    inline_scripts: tuple[str, ...]


class PageCache:
    """ASGI middleware directly before Gradio. Drops query strings of the cached paths: the page reads none on the server."""

    def __init__(self, app: ASGIApp, allowance: Allowance) -> None:
        self._app = app
        self._allowance = allowance
        self._entries: OrderedDict[tuple[object, ...], _Entry] = OrderedDict()
        self._rendering = asyncio.Lock()
        self._renderings = Window(MAX_RENDERINGS, RENDERINGS_SECONDS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "").rstrip("/") or "/"
        if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD") or path not in PATHS:
            await self._app(scope, receive, send)
            return
        asked = HTTPConnection(scope)
        origin = _origin(asked)
        entry = self._entries.get((path, *origin)) or await self._rendered(path, origin, asked, receive)
        if isinstance(entry, Response):
            await entry(scope, receive, send)
            return
        if (path, *origin) in self._entries:
            self._entries.move_to_end((path, *origin))
        scope[INLINE_SCRIPTS] = entry.inline_scripts
        await _answer(entry, asked)(scope, receive, send)

    async def _rendered(self, path: str, origin: Origin, asked: HTTPConnection, receive: Receive) -> _Entry | Response:
        """A new entry, for which one of those who wait for it pays; or what else there is to answer."""
        async with self._rendering:
            key = (path, *origin)
            if key in self._entries:
                return self._entries[key]
            if not self._renderings.take(time.monotonic()) or not self._allowance.take(asked, RENDER_COST):
                return PlainTextResponse(t("guards.rate"), 429)
            plain = {**asked.scope, "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b""}
            found = await self._render({**plain, "headers": _headers(origin)}, receive)
            if isinstance(found, _Entry):
                self._entries[key] = found
                while len(self._entries) > MAX_ENTRIES:
                    self._entries.popitem(last=False)
            return found

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
        return _Entry(media_type, body, gzip.compress(body, mtime=0), _hashes(body))


def _origin(asked: HTTPConnection) -> Origin:
    """All that Gradio's answers depend on: the hosts that are named, and whether the visitor's connection is encrypted."""
    headers = asked.headers
    is_https = "https" in (asked.scope["scheme"], headers.get("x-forwarded-proto", "").partition(",")[0].strip())
    return headers.get("host", ""), headers.get("x-forwarded-host", ""), is_https


def _headers(origin: Origin) -> list[tuple[bytes, bytes]]:
    host, forwarded_host, is_https = origin
    named = {"host": host, "x-forwarded-host": forwarded_host, "x-forwarded-proto": "https" if is_https else ""}
    return [(name.encode(), value.encode("latin-1")) for name, value in named.items() if value]


def _answer(entry: _Entry, asked: HTTPConnection) -> Response:
    can_unpack = "gzip" in asked.headers.get("accept-encoding", "")
    headers = {"content-type": entry.media_type, "vary": "accept-encoding"}
    if can_unpack:
        headers["content-encoding"] = "gzip"
    return Response(entry.compressed if can_unpack else entry.body, headers=headers)


def _hashes(page: bytes) -> tuple[str, ...]:
    """What a policy calls the inline scripts of `page`."""
    digests = [hashlib.sha256(script).digest() for script in INLINE_SCRIPT.findall(page)]
    return tuple(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
