"""Sets the headers of every HTTP response: which scripts may run, who may embed the page, no MIME sniffing, and a
visitor's cookie. Also ends responses that fail, or that the client does not read.
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
"""How long a client may take to accept the next part of a response before it is dropped."""
COOKIE_SECONDS = 30 * 24 * 3600
INLINE_SCRIPTS = "studio.inline_scripts"
"""Key in the request's scope under which a response leaves the hashes of its inline scripts."""
OWN_POLICY = "studio.policy"
"""Key under which a response leaves a policy of its own, that replaces the page's. Only our own routes can set it."""
EMBEDDERS = "'self' https://huggingface.co https://*.hf.space"
ALWAYS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
}


def policy(inline_scripts: Iterable[str] = (), *, has_frame: bool = False) -> str:
    """The Content-Security-Policy of a response. `inline_scripts`: hashes of its inline scripts that may run. `has_frame`:
    whether it may show documents of this server in frames, as the one that runs a program (ui/server/see_frame.py).
    """
    # Gradio compiles small functions of its own (unsafe-eval). Scripts that data injects later have no hash.
    scripts = " ".join(("'self'", *inline_scripts, "'unsafe-eval'"))
    frames = "frame-src 'self'; " if has_frame else ""
    return (
        f"default-src 'none'; script-src {scripts}; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; "
        f"worker-src 'self' blob:; {frames}manifest-src 'self'; base-uri 'self'; form-action 'self'; object-src 'none'; "
        f"frame-ancestors {EMBEDDERS}"
    )


class Headers:
    """ASGI middleware, the outermost."""

    def __init__(self, app: ASGIApp, settings: Settings, send_seconds: float = SEND_SECONDS) -> None:
        self._app = app
        self._settings = settings
        self._send_seconds = send_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # lifespan events
            await self._app(scope, receive, send)
            return
        scope = {**scope, "headers": self._without_forged_host(scope["headers"])}
        response = _Response(HTTPConnection(scope), send, self._settings, self._send_seconds)
        try:
            await self._app(scope, receive, response.send)
        except TimeoutError:
            return  # the client stopped reading; the connection is closed
        except Exception as error:
            if response.has_started:
                log_unexpected(error)
                raise
            await PlainTextResponse(log_unexpected(error), 500)(scope, receive, response.send)

    def _without_forged_host(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """Drop a forwarded host that is not the Space's: Gradio would put it into the page's URLs."""
        own = (self._settings.space_host or "").encode()
        return [(name, value) for name, value in headers if name != b"x-forwarded-host" or value == own]


class _Response:
    """Sends one response, with our headers."""

    def __init__(self, connection: HTTPConnection, send: Send, settings: Settings, send_seconds: float) -> None:
        self._connection = connection
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
        scope = self._connection.scope
        has_frame = self._settings.pyodide_url is not None
        own = scope.get(OWN_POLICY)
        headers["content-security-policy"] = own or policy(scope.get(INLINE_SCRIPTS, ()), has_frame=has_frame)
        for name in [name for name in headers if name.startswith("access-control-")] + ["server"]:
            del headers[name]
        if headers.get("content-type", "").startswith("text/html"):
            headers["cache-control"] = "private, no-cache"
            # A frame without an origin might be asked for without the cookie, and must not replace it.
            if not own and not cookie_of(self._connection.cookies):
                headers.append("set-cookie", self._cookie())

    def _cookie(self) -> str:
        """A Space is shown in a frame of another site, where browsers keep only a SameSite=None, partitioned cookie."""
        site = "SameSite=None; Secure; Partitioned" if is_https(self._connection, self._settings) else "SameSite=Lax"
        return f"{COOKIE}={new_cookie()}; Path=/; Max-Age={COOKIE_SECONDS}; HttpOnly; {site}"
