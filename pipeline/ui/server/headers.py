"""What every HTTP answer carries: which scripts may run, who may embed the page, that types are not guessed, and a visitor's
cookie. And what becomes of an answer that fails, or that nobody reads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.core.settings import Settings
from pipeline.ui.shared.failures import log_unexpected
from pipeline.ui.shared.visitors import COOKIE, cookie_of, is_https, new_cookie

SEND_SECONDS = 20.0
"""How long a reader may take for the next part of an answer before it is given up."""
COOKIE_SECONDS = 30 * 24 * 3600
INLINE_SCRIPTS = "studio.inline_scripts"
"""Where an answer leaves the hashes of its scripts, in the request's scope."""
EMBEDDERS = "'self' https://huggingface.co https://*.hf.space"
ALWAYS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
}


def policy(inline_scripts: Iterable[str] = ()) -> str:
    """The Content-Security-Policy of an answer. `inline_scripts`: hashes of the scripts inside it that may run."""
    # Gradio compiles small functions of its own (unsafe-eval). Scripts that data brings into the page later have no hash.
    scripts = " ".join(("'self'", *inline_scripts, "'unsafe-eval'"))
    return (
        f"default-src 'none'; script-src {scripts}; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; "
        "worker-src 'self' blob:; manifest-src 'self'; base-uri 'self'; form-action 'self'; object-src 'none'; "
        f"frame-ancestors {EMBEDDERS}"
    )


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
        scope = {**scope, "headers": self._known(scope["headers"])}
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

    def _known(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """Without a forwarded host that is not ours, as Gradio would put it into the page's addresses."""
        own = (self._settings.space_host or "").encode()
        return [(name, value) for name, value in headers if name != b"x-forwarded-host" or value == own]


class _Answer:
    """One answer on its way out."""

    def __init__(self, asked: HTTPConnection, send: Send, settings: Settings, send_seconds: float) -> None:
        self._asked = asked
        self._send = send
        self._settings = settings
        self._send_seconds = send_seconds
        self.has_started = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._set(MutableHeaders(raw=message["headers"]))
        self.has_started = True
        async with asyncio.timeout(self._send_seconds):
            await self._send(message)

    def _set(self, headers: MutableHeaders) -> None:
        for name, value in ALWAYS.items():
            headers[name] = value
        headers["content-security-policy"] = policy(self._asked.scope.get(INLINE_SCRIPTS, ()))
        for name in [name for name in headers if name.startswith("access-control-")] + ["server"]:
            del headers[name]
        if headers.get("content-type", "").startswith("text/html"):
            headers["cache-control"] = "private, no-cache"
            if not cookie_of(self._asked.cookies):
                headers.append("set-cookie", self._cookie())

    def _cookie(self) -> str:
        """A Space is shown inside another site's page, where only such a cookie is kept."""
        site = "SameSite=None; Secure; Partitioned" if is_https(self._asked, self._settings) else "SameSite=Lax"
        return f"{COOKIE}={new_cookie()}; Path=/; Max-Age={COOKIE_SECONDS}; HttpOnly; {site}"
