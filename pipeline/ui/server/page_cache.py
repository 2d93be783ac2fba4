"""Renders the page's HTML, configuration and API description once. Gradio renders them for every request, in 35 ms of a core.

Their text depends on the request in one way: it names the origin, scheme and host, that the request names. Gradio even keeps the
first visitor's origin in the API description of all others. So Gradio is asked under one made-up origin, and each answer has its
own visitor's origin in that place.
"""

from __future__ import annotations

import asyncio
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

from pipeline.core.settings import Settings
from pipeline.ui.server.headers import INLINE_SCRIPTS
from pipeline.ui.shared.texts import t
from pipeline.ui.shared.visitors import is_https

PATHS = frozenset({"/", "/config", "/gradio_api/info", "/theme.css"})
MADE_UP_HOST = b"page.invalid"
HOST = re.compile(r"[\w.:\[\]-]{1,255}", re.ASCII)
"""Hosts that need no escaping in HTML, JavaScript, JSON and shell commands, all of which name the origin."""
MAX_ENTRIES = 32
COMPRESSION = 4
INLINE_SCRIPT = re.compile(rb"<script(?![^>]*\ssrc=)[^>]*>")


@dataclass(frozen=True)
class _Rendered:
    """Of one path: Gradio's answer under the made-up origin."""

    media_type: str
    body: bytes


@dataclass(frozen=True)
class _Entry:
    """Of one path and origin: what is sent."""

    media_type: str
    body: bytes
    compressed: bytes
    inline_scripts: tuple[str, ...]


class PageCache:
    """ASGI middleware directly before Gradio. Drops query strings of the cached paths: the page reads none on the server."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        self._rendered: dict[str, _Rendered] = {}
        self._rendering = asyncio.Lock()
        self._entries: OrderedDict[tuple[str, str], _Entry] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "").rstrip("/") or "/"
        if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD") or path not in PATHS:
            await self._app(scope, receive, send)
            return
        asked = HTTPConnection(scope)
        host = asked.headers.get("x-forwarded-host") or asked.headers.get("host", "")
        if not HOST.fullmatch(host):
            await PlainTextResponse(t("guards.host", host=host[:100]), 421)(scope, receive, send)
            return
        rendered = await self._render(path, scope, receive)
        if isinstance(rendered, Response):
            await rendered(scope, receive, send)
            return
        entry = self._entry(path, rendered, f"{'https' if is_https(asked, self._settings) else 'http'}://{host}")
        scope[INLINE_SCRIPTS] = entry.inline_scripts
        await _answer(entry, asked)(scope, receive, send)

    async def _render(self, path: str, scope: Scope, receive: Receive) -> _Rendered | Response:
        """Gradio's answer, or, when it is not 200, that answer as it is, which is not cached. The first visitors wait for one
        rendering.
        """
        async with self._rendering:
            if path not in self._rendered:
                status, rendered = await self._ask(path, scope, receive)
                if status != 200:
                    return Response(rendered.body, status, media_type=rendered.media_type)
                self._rendered[path] = rendered
            return self._rendered[path]

    async def _ask(self, path: str, scope: Scope, receive: Receive) -> tuple[int, _Rendered]:
        """Status and answer of Gradio. Nothing of the request goes with it but the path."""
        start: Message = {}
        parts: list[bytes] = []

        async def collect(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
            else:
                parts.append(message.get("body", b""))

        plain = {"method": "GET", "scheme": "http", "path": path, "raw_path": path.encode(), "query_string": b""}
        await self._app({**scope, **plain, "headers": [(b"host", MADE_UP_HOST)]}, receive, collect)
        media_type = MutableHeaders(raw=start["headers"]).get("content-type", "")
        return start["status"], _Rendered(media_type, b"".join(parts))

    def _entry(self, path: str, rendered: _Rendered, origin: str) -> _Entry:
        """3 ms when the origin is new, most of them for compression."""
        key = path, origin
        if key not in self._entries:
            body = rendered.body.replace(b"http://" + MADE_UP_HOST, origin.encode())
            compressed = gzip.compress(body, COMPRESSION, mtime=0)
            self._entries[key] = _Entry(rendered.media_type, body, compressed, _hashes(body))
        self._entries.move_to_end(key)
        while len(self._entries) > MAX_ENTRIES:
            self._entries.popitem(last=False)
        return self._entries[key]


def _answer(entry: _Entry, asked: HTTPConnection) -> Response:
    can_unpack = "gzip" in asked.headers.get("accept-encoding", "")
    headers = {"content-type": entry.media_type, "vary": "accept-encoding"}
    if can_unpack:
        headers["content-encoding"] = "gzip"
    return Response(entry.compressed if can_unpack else entry.body, headers=headers)


def _hashes(page: bytes) -> tuple[str, ...]:
    """What a policy calls the inline scripts of `page`."""
    starts = [tag.end() for tag in INLINE_SCRIPT.finditer(page)]
    digests = [hashlib.sha256(page[start : page.index(b"</script>", start)]).digest() for start in starts]
    return tuple(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
