"""Checks every HTTP request before Gradio sees it: a known host, the page's own origin, an open path, the rate limit,
and a small body that arrives in time.

Gradio itself checks none of these. The host check stops DNS rebinding. The origin check stops other sites from starting
actions with a visitor's cookies. Gradio's paths that the page does not use accept files or fetch URLs for anyone.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from collections import Counter
from collections.abc import Iterator
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.core.settings import Settings
from pipeline.ui.server.rates import Allowance
from pipeline.ui.server.sign_in import UNLOCK
from pipeline.ui.shared.hosts import as_address, host_name, is_loopback
from pipeline.ui.shared.texts import t
from pipeline.ui.shared.visitors import Visitor, visitor_of

MAX_BODY_BYTES = 256 * 1024
"""The longest prompt has 8,000 characters of up to 12 bytes each in JSON. A pasted file should get a clear error."""
BODY_SECONDS = 10.0
"""Time limit for a body to arrive."""
DISCARD_SECONDS = 1.0
MAX_DISCARDED_BYTES = 4 * 2**20
"""Limits on reading the rest of a refused body: its time, and its size."""
MAX_BODIES = 16
"""Bodies that one address may be sending at once."""
READING = ("GET", "HEAD", "OPTIONS")
OPEN_PATHS = re.compile(
    r"/|/(config|info|theme\.css|favicon\.ico|robots\.txt|manifest\.json)/?"
    r"|/(assets|static)/(?!.*\.\.)[\w./@-]+"
    r"|/studio/(unlock|lock|who|changes|see)|/studio/example/[a-z0-9]{8}\.(py|ipynb)"
    r"|/studio/card/(page|[a-z0-9]{8}|run/[\w.-]{1,80})\.png"
    r"|/gradio_api/(info|app_id|queue/join|queue/data|reset|cancel|heartbeat/[\w-]+)/?"
    r"|/gradio_api/(run|api)/\w+/?|/gradio_api/call/(?!v2/)\w+(/\w+)?/?"
)
"""The paths that the page and programs use. All other paths of Gradio are closed."""
TOOLS = "/mcp"
"""The path of the MCP server, where there is one."""
COSTS = (
    (re.compile(r"/(assets|static)/.*"), 0.2),
    (re.compile(r"/|/(config|info)/?|/gradio_api/info/?|/studio/card/.*"), 5.0),
    # Scans and completions.
    (re.compile(r"/gradio_api/(queue/join|call/\w+)/?|/mcp"), 10.0),
)
"""The first pattern that matches gives a request's cost. Any other request costs 1."""
BYTES_COST = 4_096
"""Bytes of a body that cost 1."""
MAX_HEADERS = 64
MAX_OPEN = 64
"""Concurrent requests of one address, without streams: each unread response uses memory."""
LONG = re.compile(r"/gradio_api/(queue/data|heartbeat/[\w-]+|call/\w+/\w+)/?")
"""Paths of streams, which sessions.py counts."""


class Guards:
    """ASGI middleware."""

    def __init__(
        self,
        app: ASGIApp,
        settings: Settings,
        allowance: Allowance,
        most_body_bytes: int = MAX_BODY_BYTES,
        body_seconds: float = BODY_SECONDS,
    ) -> None:
        self._app = app
        self._settings = settings
        self._max_body_bytes = most_body_bytes
        self._body_seconds = body_seconds
        self._allowance = allowance
        self._bodies: Counter[str] = Counter()
        """Bodies being received, by address."""
        self._open: Counter[str] = Counter()
        """Requests being answered, by address."""
        self._is_local = is_loopback(settings.server_name)
        self._names = {
            name.lower() for name in (socket.gethostname(), settings.server_name, settings.space_host) if name
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # lifespan events
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        refusal = self._refusal(connection)
        visitor = visitor_of(connection, self._settings)
        if refusal is None and scope["method"] not in READING and scope["path"] != UNLOCK:
            receive, refusal = await self._read_body(connection, visitor, receive)
        if refusal is not None:
            status, text = refusal
            if status in (400, 413) and self._bodies[visitor.address] < MAX_BODIES:
                with _counted(self._bodies, visitor.address):
                    await _discard(receive)
            # Close the connection: the rest of the body would be parsed as the next request.
            await PlainTextResponse(text, status, headers={"connection": "close"})(scope, receive, send)
            return
        if LONG.fullmatch(scope["path"]):
            await self._app(scope, receive, send)
            return
        with _counted(self._open, visitor.address):
            await self._app(scope, receive, send)

    def _refusal(self, connection: HTTPConnection) -> tuple[int, str] | None:
        method, path, headers = connection.scope["method"], connection.scope["path"], connection.headers
        if len(headers) > MAX_HEADERS:
            return 431, t("guards.headers", most=MAX_HEADERS)
        host = headers.get("host", "")
        if not self._is_known_host(host_name(host)):
            return 421, t("guards.host", host=host[:100])
        if method not in READING and not self._is_own_origin(headers, host):
            return 403, t("guards.origin")
        is_open = OPEN_PATHS.fullmatch(path) or (self._settings.mcp and path == TOOLS)
        if not is_open:
            return 403, t("guards.path")
        length = headers.get("content-length") or "0"
        if not (length.isascii() and length.isdecimal() and int(length) <= self._max_body_bytes):
            return 413, t("guards.body", most=self._max_body_bytes)
        if method in READING and (length != "0" or "transfer-encoding" in headers):
            return 400, t("guards.body", most=0)
        # wrong_keys.py limits unlocking. A flood from the owner's address must not lock the owner out.
        if path == UNLOCK or self._allowance.is_owner(connection):
            return None
        visitor = visitor_of(connection, self._settings)
        is_full = self._open[visitor.address] >= MAX_OPEN and not LONG.fullmatch(path)
        cost = next((cost for pattern, cost in COSTS if pattern.fullmatch(path)), 1.0)
        if is_full or not self._allowance.take(connection, cost):
            return 429, t("guards.rate")
        return None

    def _is_known_host(self, name: str) -> bool:
        """Whether the page is served under `name`. Loopback names always are.

        On a page bound to other interfaces any IP address is known too: DNS rebinding needs a host name.
        """
        if is_loopback(name) or name in self._names:
            return True
        return not self._is_local and as_address(name) is not None

    def _is_own_origin(self, headers: Headers, host: str) -> bool:
        """Whether the page or a program sent the request. A program sends neither header, and no visitor's cookies."""
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return False
        origin = headers.get("origin")
        return origin is None or urlsplit(origin).netloc.lower() in (host.lower(), self._settings.space_host)

    async def _read_body(
        self, connection: HTTPConnection, visitor: Visitor, receive: Receive
    ) -> tuple[Receive, tuple[int, str] | None]:
        """Read the whole body. Returns a `receive` that gives it in one message, and the refusal if there is one."""
        if self._bodies[visitor.address] >= MAX_BODIES and not self._allowance.is_owner(connection):
            return receive, (429, t("guards.rate"))
        try:
            with _counted(self._bodies, visitor.address):
                async with asyncio.timeout(self._body_seconds):
                    body = await self._receive_body(receive)
        except TimeoutError:
            return receive, (408, t("guards.slow", most=f"{self._body_seconds:g}"))
        if body is None:
            return receive, (413, t("guards.body", most=self._max_body_bytes))
        if not self._allowance.take(connection, len(body) / BYTES_COST):
            return receive, (429, t("guards.rate"))
        return _replay(body, receive), None

    async def _receive_body(self, receive: Receive) -> bytes | None:
        """The body; None when it exceeds the limit, whatever its Content-Length was."""
        body = bytearray()
        while True:
            message = await receive()
            body += message.get("body", b"")
            if len(body) > self._max_body_bytes:
                return None
            if message["type"] == "http.disconnect" or not message.get("more_body"):
                return bytes(body)


async def _discard(receive: Receive) -> None:
    """Read the rest of a body for a moment: a client that is still sending at the close never sees the response."""
    read = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DISCARD_SECONDS):
            while read < MAX_DISCARDED_BYTES:
                message = await receive()
                read += len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body"):
                    return


@contextlib.contextmanager
def _counted(counts: Counter[str], address: str) -> Iterator[None]:
    counts[address] += 1
    try:
        yield
    finally:
        counts[address] -= 1
        if not counts[address]:
            del counts[address]


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives `body` first, then the next message, which is the disconnect."""
    parts = [body]

    async def received() -> Message:
        if parts:
            return {"type": "http.request", "body": parts.pop(), "more_body": False}
        return await receive()

    return received
