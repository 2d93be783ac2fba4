"""Caches the page's rendered HTML, configuration and API description. Gradio renders them anew for every request, which
takes 35 ms of a core.

They depend on the request only by its origin (scheme and host), which they contain. Gradio even gives the first
visitor's origin to all others in the API description. So Gradio renders them under one made-up origin, which each
visitor's own replaces.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.core.settings import Settings
from pipeline.ui.server.headers import INLINE_SCRIPTS
from pipeline.ui.shared.texts import t
from pipeline.ui.shared.threads import wait_for
from pipeline.ui.shared.visitors import is_https

PATHS = frozenset({"/", "/config", "/gradio_api/info", "/theme.css"})
MADE_UP_HOST = b"page.invalid"
HOST = re.compile(r"[\w.:\[\]-]{1,255}", re.ASCII)
"""Hosts that need no escaping in HTML, JavaScript, JSON and shell commands, all of which contain the origin."""
MAX_ENTRIES = 32
COMPRESSION = 4
ENGLISH = b"<script>Object.defineProperty(navigator, 'language', { get: () => 'en' });</script>"
"""The page's texts are English. Gradio sets the page's language, and that of its own texts, to the browser's."""
NO_COUNTING = (
    b"<script>{ const next = requestAnimationFrame; window.requestAnimationFrame = (call) => "
    rb"/performance\.now\(\)-[^;]*\/1e3/.test(call) ? 0 : next(call); }</script>"
)
"""Gradio's loading screen (6.31) counts its seconds at every frame, also once it is gone: an idle tab would draw 60 frames a
second, and an animation beside it on the main thread. The page shows no such count anywhere.
"""
GRADIO_CARD = re.compile(rb"<meta\s+(?:property=\"og:|name=\"(?:twitter:|description\"))[^>]*>")
INLINE_SCRIPT = re.compile(rb"<script(?![^>]*\ssrc=)[^>]*>")


@dataclass(frozen=True)
class _Rendered:
    """Gradio's response for one path, under the made-up origin."""

    media_type: str
    body: bytes


@dataclass(frozen=True)
class _CachedResponse:
    """The finished response: for one path, origin and tags, and for clients that take gzip or others."""

    media_type: str
    body: bytes
    is_compressed: bool
    inline_scripts: tuple[str, ...]


class PageCache:
    """ASGI middleware directly before Gradio. Drops query strings of cached paths: Gradio reads none. `head`: makes the
    tags that the page's own head has for a query, under an origin.
    """

    def __init__(
        self, app: ASGIApp, settings: Settings, head: Callable[[Mapping[str, str], str], str] = lambda query, origin: ""
    ) -> None:
        self._app = app
        self._settings = settings
        self._head = head
        self._rendered: dict[str, _Rendered] = {}
        self._rendering = asyncio.Lock()
        self._making = asyncio.Lock()
        self._entries: OrderedDict[tuple[str, str, str | None, bool], _CachedResponse] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "").rstrip("/") or "/"
        if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD") or path not in PATHS:
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        host = connection.headers.get("x-forwarded-host") or connection.headers.get("host", "")
        if not HOST.fullmatch(host):
            await PlainTextResponse(t("guards.host", host=host[:100]), 421)(scope, receive, send)
            return
        rendered = await self._render(path, scope, receive)
        if isinstance(rendered, Response):
            await rendered(scope, receive, send)
            return
        origin = f"{'https' if is_https(connection, self._settings) else 'http'}://{host}"
        tags = await wait_for(self._head, dict(connection.query_params), origin) if path == "/" else None
        takes_gzip = "gzip" in connection.headers.get("accept-encoding", "")
        entry = await self._entry(path, rendered, origin, tags, takes_gzip)
        scope[INLINE_SCRIPTS] = entry.inline_scripts
        await _response(entry)(scope, receive, send)

    async def _render(self, path: str, scope: Scope, receive: Receive) -> _Rendered | Response:
        """Gradio's response from the cache; one whose status is not 200 is returned as it is and not cached.

        The lock makes the first visitors wait for one rendering.
        """
        async with self._rendering:
            if path not in self._rendered:
                status, rendered = await self._fetch(path, scope, receive)
                if status != 200:
                    return Response(rendered.body, status, media_type=rendered.media_type)
                self._rendered[path] = rendered
            return self._rendered[path]

    async def _fetch(self, path: str, scope: Scope, receive: Receive) -> tuple[int, _Rendered]:
        """Status and response of Gradio. Of the visitor's request, only the path is passed on."""
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
        # Only a page has a head. Gradio would insert a script of ours after its own have run.
        body = b"".join(parts).replace(b"<head>", b"<head>" + ENGLISH + NO_COUNTING, 1)
        return start["status"], _Rendered(media_type, body)

    async def _entry(
        self, path: str, rendered: _Rendered, origin: str, tags: str | None, takes_gzip: bool
    ) -> _CachedResponse:
        """The cached response. A new one takes 3 ms of a thread, mostly for compression; one is made at a time."""
        key = path, origin, tags, takes_gzip
        if key not in self._entries:
            async with self._making:
                if key not in self._entries:
                    self._entries[key] = await wait_for(_made, rendered, origin, tags, takes_gzip)
        self._entries.move_to_end(key)
        entry = self._entries[key]
        while len(self._entries) > MAX_ENTRIES:
            self._entries.popitem(last=False)
        return entry


def _made(rendered: _Rendered, origin: str, tags: str | None, takes_gzip: bool) -> _CachedResponse:
    """`tags`: those of the page's head; Gradio's own for link cards are the same for every link, and go."""
    body = rendered.body.replace(b"http://" + MADE_UP_HOST, origin.encode())
    scripts = _hashes(body)  # before the tags: no script that stands in them may run
    if tags is not None:
        body = GRADIO_CARD.sub(b"", body).replace(b"<head>", b"<head>" + tags.encode(), 1)
    if takes_gzip:
        body = gzip.compress(body, COMPRESSION, mtime=0)
    return _CachedResponse(rendered.media_type, body, takes_gzip, scripts)


def _response(entry: _CachedResponse) -> Response:
    headers = {"content-type": entry.media_type, "vary": "accept-encoding"}
    if entry.is_compressed:
        headers["content-encoding"] = "gzip"
    return Response(entry.body, headers=headers)


def _hashes(page: bytes) -> tuple[str, ...]:
    """The inline scripts of `page` as sources of a Content-Security-Policy."""
    starts = [tag.end() for tag in INLINE_SCRIPT.finditer(page)]
    digests = [hashlib.sha256(page[start : page.index(b"</script>", start)]).digest() for start in starts]
    return tuple(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
