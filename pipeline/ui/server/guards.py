"""What every HTTP request must pass before Gradio sees it: a known host, its own origin, an open path, a fair share of requests,
and a small body that arrives soon.

Gradio itself checks none of these. A host name check stops DNS rebinding, an origin check stops other sites from
pressing buttons with a visitor's cookies, and paths that the page does not use take files or fetch addresses for strangers.
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

MOST_BODY_BYTES = 256 * 1024
"""The longest prompt is 8,000 characters, of which JSON may make 12 bytes each; who pastes a file is to read a sentence."""
BODY_SECONDS = 10.0
"""How long a body may take to arrive."""
DISCARD_SECONDS = 1.0
MAX_DISCARDED_BYTES = 4 * 2**20
"""How long, and how much of, a body that is refused is read all the same."""
MOST_BODIES = 16
"""Bodies of one address that may be on their way at once."""
READING = ("GET", "HEAD", "OPTIONS")
OPEN_PATHS = re.compile(
    r"/|/(config|info|theme\.css|favicon\.ico|robots\.txt|manifest\.json)/?"
    r"|/(assets|static)/(?!.*\.\.)[\w./@-]+"
    r"|/studio/(unlock|lock|who)"
    r"|/gradio_api/(info|app_id|queue/join|queue/data|reset|cancel|heartbeat/[\w-]+)/?"
    r"|/gradio_api/(run|api)/\w+/?|/gradio_api/call/(?!v2/)\w+(/\w+)?/?"
)
"""What the page and programs use. Any other path of Gradio's is closed."""
COSTS = (
    (re.compile(r"/(assets|static)/.*"), 0.2),
    (re.compile(r"/|/(config|info)/?|/gradio_api/info/?"), 5.0),
    # Scans and completions.
    (re.compile(r"/gradio_api/(queue/join|call/\w+)/?"), 10.0),
)
"""What requests cost beside an event, which costs 1."""
BYTES_COST = 4_096
"""So many bytes of a body cost as much as an event."""
MOST_HEADERS = 64
MOST_OPEN = 64
"""Requests of one address that may be answered at once, streams not counted: each unread one keeps memory."""
LONG = re.compile(r"/gradio_api/(queue/data|heartbeat/[\w-]+|call/\w+/\w+)/?")
"""Streams, which sessions.py counts."""


class Guards:
    """ASGI middleware."""

    def __init__(
        self,
        app: ASGIApp,
        settings: Settings,
        allowance: Allowance,
        most_body_bytes: int = MOST_BODY_BYTES,
        body_seconds: float = BODY_SECONDS,
    ) -> None:
        self._app = app
        self._settings = settings
        self._most_body_bytes = most_body_bytes
        self._body_seconds = body_seconds
        self._allowance = allowance
        self._bodies: Counter[str] = Counter()
        """Of each address, how many bodies are on their way."""
        self._open: Counter[str] = Counter()
        """Of each address, how many requests are being answered."""
        self._is_local = is_loopback(settings.server_name)
        self._names = {
            name.lower() for name in (socket.gethostname(), settings.server_name, settings.space_host) if name
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # the server's start and stop
            await self._app(scope, receive, send)
            return
        asked = HTTPConnection(scope)
        refusal = self._refusal(asked)
        visitor = visitor_of(asked, self._settings)
        if refusal is None and scope["method"] not in READING and scope["path"] != UNLOCK:
            receive, refusal = await self._read(asked, visitor, receive)
        if refusal is not None:
            status, text = refusal
            if status in (400, 413) and self._bodies[visitor.address] < MOST_BODIES:
                with _one_more(self._bodies, visitor.address):
                    await _discard(receive)
            # Closed, as what is left of a body would be read as the next request.
            await PlainTextResponse(text, status, headers={"connection": "close"})(scope, receive, send)
            return
        if LONG.fullmatch(scope["path"]):
            await self._app(scope, receive, send)
            return
        with _one_more(self._open, visitor.address):
            await self._app(scope, receive, send)

    def _refusal(self, asked: HTTPConnection) -> tuple[int, str] | None:
        method, path, headers = asked.scope["method"], asked.scope["path"], asked.headers
        if len(headers) > MOST_HEADERS:
            return 431, t("guards.headers", most=MOST_HEADERS)
        host = headers.get("host", "")
        if not self._is_known(host_name(host)):
            return 421, t("guards.host", host=host[:100])
        if method not in READING and not self._is_own_origin(headers, host):
            return 403, t("guards.origin")
        if not OPEN_PATHS.fullmatch(path):
            return 403, t("guards.path")
        length = headers.get("content-length") or "0"
        if not (length.isascii() and length.isdecimal() and int(length) <= self._most_body_bytes):
            return 413, t("guards.body", most=self._most_body_bytes)
        if method in READING and (length != "0" or "transfer-encoding" in headers):
            return 400, t("guards.body", most=0)
        # Unlocking is limited by wrong_keys.py: whoever floods from the owner's address must not lock the owner out.
        if path == UNLOCK or self._allowance.is_owner(asked):
            return None
        visitor = visitor_of(asked, self._settings)
        is_full = self._open[visitor.address] >= MOST_OPEN and not LONG.fullmatch(path)
        cost = next((cost for pattern, cost in COSTS if pattern.fullmatch(path)), 1.0)
        if is_full or not self._allowance.take(asked, cost):
            return 429, t("guards.rate")
        return None

    def _is_known(self, name: str) -> bool:
        """Loopback always. An address cannot be rebound, so off loopback it is as good as the page's own name."""
        if is_loopback(name) or name in self._names:
            return True
        return not self._is_local and as_address(name) is not None

    def _is_own_origin(self, headers: Headers, host: str) -> bool:
        """Whether the page itself asks. A program sends neither header and carries nobody's cookies."""
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return False
        origin = headers.get("origin")
        return origin is None or urlsplit(origin).netloc.lower() in (host.lower(), self._settings.space_host)

    async def _read(
        self, asked: HTTPConnection, visitor: Visitor, receive: Receive
    ) -> tuple[Receive, tuple[int, str] | None]:
        """The whole body, to be received again in one part; or why it is refused."""
        if self._bodies[visitor.address] >= MOST_BODIES and not self._allowance.is_owner(asked):
            return receive, (429, t("guards.rate"))
        try:
            with _one_more(self._bodies, visitor.address):
                async with asyncio.timeout(self._body_seconds):
                    body = await self._whole(receive)
        except TimeoutError:
            return receive, (408, t("guards.slow", most=f"{self._body_seconds:g}"))
        if body is None:
            return receive, (413, t("guards.body", most=self._most_body_bytes))
        if not self._allowance.take(asked, len(body) / BYTES_COST):
            return receive, (429, t("guards.rate"))
        return _again(body, receive), None

    async def _whole(self, receive: Receive) -> bytes | None:
        """None when it is longer than it may be, whatever length it gave."""
        body = bytearray()
        while True:
            message = await receive()
            body += message.get("body", b"")
            if len(body) > self._most_body_bytes:
                return None
            if message["type"] == "http.disconnect" or not message.get("more_body"):
                return bytes(body)


async def _discard(receive: Receive) -> None:
    """Read on for a moment: a client that is still sending when the connection is closed never sees the answer."""
    read = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DISCARD_SECONDS):
            while read < MAX_DISCARDED_BYTES:
                message = await receive()
                read += len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body"):
                    return


@contextlib.contextmanager
def _one_more(counts: Counter[str], address: str) -> Iterator[None]:
    counts[address] += 1
    try:
        yield
    finally:
        counts[address] -= 1
        if not counts[address]:
            del counts[address]


def _again(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives `body` first, then whatever comes, which is the end of the connection."""
    parts = [body]

    async def received() -> Message:
        if parts:
            return {"type": "http.request", "body": parts.pop(), "more_body": False}
        return await receive()

    return received
