"""What every HTTP answer carries: which scripts may run, who may embed the page, that types are not guessed, and a visitor's
cookie. And what becomes of an answer that fails, or that nobody reads.
"""

from __future__ import annotations

import asyncio
import re
import secrets

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.settings import Settings
from pipeline.ui.failures import log_unexpected
from pipeline.ui.visitors import COOKIE, cookie_of, is_https, new_cookie

SEND_SECONDS = 20.0
"""How long a reader may take for the next part of an answer before it is given up."""
COOKIE_SECONDS = 30 * 24 * 3600
SCRIPT = re.compile(rb"<script(?=[\s>])")
EMBEDDERS = "'self' https://huggingface.co https://*.hf.space"
POLICY = (
    "default-src 'none'; "
    # Gradio compiles small functions of its own (unsafe-eval); scripts that somebody slips in have no nonce.
    "script-src 'self' 'nonce-{nonce}' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; "
    "worker-src 'self' blob:; manifest-src 'self'; base-uri 'self'; form-action 'self'; object-src 'none'; "
    f"frame-ancestors {EMBEDDERS}"
)
ALWAYS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
}


class Headers:
    """ASGI middleware, the outermost."""

    def __init__(self, app: ASGIApp, settings: Settings, send_seconds: float = SEND_SECONDS) -> None:
        self._app = app
        self._settings = settings
        self._send_seconds = send_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # the server's start and stop
            await self._app(scope, receive, send)
            return
        scope = {**scope, "headers": self._plain(scope["headers"], is_page=scope["path"] == "/")}
        answer = _Answer(HTTPConnection(scope), send, self._settings, self._send_seconds)
        try:
            await self._app(scope, receive, answer.send)
        except TimeoutError:
            return  # its reader reads no more; the connection is closed
        except Exception as error:
            if answer.has_started:
                log_unexpected(error)
                raise
            await PlainTextResponse(log_unexpected(error), 500)(scope, receive, answer.send)

    def _plain(self, headers: list[tuple[bytes, bytes]], *, is_page: bool) -> list[tuple[bytes, bytes]]:
        """Without what would have Gradio compress the page before its scripts have a nonce, or name a host that is not ours."""
        own = (self._settings.space_host or "").encode()
        return [
            (name, value)
            for name, value in headers
            if not (name == b"accept-encoding" and is_page) and not (name == b"x-forwarded-host" and value != own)
        ]


class _Answer:
    """One answer on its way out. A page is held back until it is whole, as its scripts get a nonce."""

    def __init__(self, asked: HTTPConnection, send: Send, settings: Settings, send_seconds: float) -> None:
        self._asked = asked
        self._send = send
        self._settings = settings
        self._send_seconds = send_seconds
        self._nonce = secrets.token_urlsafe(16)
        self._start: Message | None = None
        self._parts: list[bytes] = []
        self.has_started = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=message["headers"])
            self._set(headers)
            if _is_page(headers) and self._asked.scope["method"] == "GET":
                self._start = message
                return
        elif self._start is not None:
            await self._page(message)
            return
        await self._pass(message)

    def _set(self, headers: MutableHeaders) -> None:
        for name, value in ALWAYS.items():
            headers[name] = value
        if _is_page(headers):
            headers["cache-control"] = "private, no-cache"
        headers["content-security-policy"] = POLICY.format(nonce=self._nonce)
        for name in [name for name in headers if name.startswith("access-control-")] + ["server"]:
            del headers[name]
        if _is_page(headers) and not cookie_of(self._asked.cookies):
            headers.append("set-cookie", self._cookie())

    def _cookie(self) -> str:
        """A Space is shown inside another site's page, where only such a cookie is kept."""
        site = "SameSite=None; Secure; Partitioned" if is_https(self._asked, self._settings) else "SameSite=Lax"
        return f"{COOKIE}={new_cookie()}; Path=/; Max-Age={COOKIE_SECONDS}; HttpOnly; {site}"

    async def _page(self, message: Message) -> None:
        self._parts.append(message.get("body", b""))
        if message.get("more_body"):
            return
        start, self._start = self._start, None
        assert start is not None
        body = SCRIPT.sub(b'<script nonce="%s"' % self._nonce.encode(), b"".join(self._parts))
        MutableHeaders(raw=start["headers"])["content-length"] = str(len(body))
        await self._pass(start)
        await self._pass({"type": "http.response.body", "body": body})

    async def _pass(self, message: Message) -> None:
        self.has_started = True
        async with asyncio.timeout(self._send_seconds):
            await self._send(message)


def _is_page(headers: MutableHeaders) -> bool:
    return headers.get("content-type", "").startswith("text/html")
