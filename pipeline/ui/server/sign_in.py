"""Signs owners in and out over plain HTTP, because a Gradio event cannot set a cookie.

    POST /studio/unlock   field `key` of a form or of a JSON object -> the owner's cookie
    POST /studio/lock     ends the sign-in of this browser
    GET  /studio/who      {"state": "open" | "owner" | "locked" | "closed"}

A response other than 200 has `message`, a sentence for people. `Guards` must be outside: it refuses other sites' POSTs.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from pipeline.core.settings import Settings
from pipeline.ui.shared.access import OWNER_COOKIE, SIGN_IN_SECONDS, Access, AccessError, DelayError
from pipeline.ui.shared.texts import t
from pipeline.ui.shared.visitors import is_https

UNLOCK = "/studio/unlock"
MAX_BODY_BYTES = 4_096
READ_SECONDS = 10.0

Handler = Callable[[Request], Awaitable[Response]]


class SignIn:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, settings: Settings, access: Access, read_seconds: float = READ_SECONDS) -> None:
        self._app = app
        self._settings = settings
        self._access = access
        self._read_seconds = read_seconds
        self._handlers: dict[str, tuple[str, Handler]] = {
            UNLOCK: ("POST", self._unlock),
            "/studio/lock": ("POST", self._lock),
            "/studio/who": ("GET", self._who),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        # A call is a POST, and a GET for its result, which is not counted.
        if request.method == "POST" or scope["path"] in self._handlers:
            self._access.count_wrong_header(request)
        if scope["path"] not in self._handlers:
            await self._app(scope, receive, send)
            return
        response = await self._answer(request)
        response.headers["cache-control"] = "no-store"
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        method, handler = self._handlers[request.scope["path"]]
        if request.method != method:
            return refusal(405, t("access.method", method=method), allow=method)
        try:
            return await handler(request)
        except HTTPException as error:  # the unread rest of the body would be parsed as the next request
            return refusal(error.status_code, error.detail, connection="close")

    async def _unlock(self, request: Request) -> Response:
        key = key_of(await self._body(request), request.headers.get("content-type", ""))
        try:
            token = self._access.unlock(request, key)
        except DelayError as error:
            return refusal(429, str(error), retry_after=str(math.ceil(error.seconds)), connection="close")
        except AccessError as error:
            return refusal(403, str(error), connection="close")
        return self._with_cookie(JSONResponse({"state": "owner"}), request, token, SIGN_IN_SECONDS)

    async def _lock(self, request: Request) -> Response:
        self._access.lock(request)
        return self._with_cookie(JSONResponse({"state": self._access.of(request).state}), request, "", 0)

    async def _who(self, request: Request) -> Response:
        return JSONResponse({"state": self._access.of(request).state})

    async def _body(self, request: Request) -> bytes:
        body = bytearray()
        try:
            async with asyncio.timeout(self._read_seconds):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > MAX_BODY_BYTES:
                        raise HTTPException(413, t("guards.body", most=MAX_BODY_BYTES))
        except TimeoutError as error:
            raise HTTPException(408, t("access.slow", seconds=round(self._read_seconds))) from error
        except ClientDisconnect as error:
            raise HTTPException(400, t("access.no_key")) from error
        return bytes(body)

    def _with_cookie(self, response: Response, request: Request, token: str, seconds: int) -> Response:
        """Set the owner's cookie. Scripts cannot read it, and requests from other sites do not carry it.

        A Space is shown in a frame of another site, where browsers keep only a Secure cookie with SameSite=None and, if
        third-party cookies are blocked, only a partitioned one.
        """
        if self._settings.space_id:
            rules = "SameSite=None; Secure; Partitioned"
        else:
            rules = "SameSite=Strict; Secure" if is_https(request, self._settings) else "SameSite=Strict"
        # Written by hand: http.cookies supports Partitioned only from Python 3.14 on.
        response.headers["set-cookie"] = f"{OWNER_COOKIE}={token}; Max-Age={seconds}; Path=/; HttpOnly; {rules}"
        return response


def key_of(body: bytes, content_type: str) -> str:
    """The field `key` of a form or of a JSON object. Raises HTTPException when there is none."""
    try:
        if content_type.startswith("application/json"):
            key = json.loads(body)["key"]
        else:
            [key] = parse_qs(body.decode(), max_num_fields=8)["key"]
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise HTTPException(400, t("access.no_key")) from error
    if not isinstance(key, str):
        raise HTTPException(400, t("access.no_key"))
    return key


def refusal(status: int, message: str, **headers: str) -> Response:
    """A JSON response with `message`. `headers`: names with underscores for hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return JSONResponse({"message": message}, status, named)
