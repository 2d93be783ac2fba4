"""Validates posts to Gradio's events before Gradio runs them: the event exists, the values have types that its inputs
send, and the session belongs to the visitor. Also counts streams, and runs the cleanup of sessions whose visitor left.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from collections.abc import Callable
from typing import Any

import gradio as gr
from gradio.block_function import BlockFunction
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.core.settings import Settings
from pipeline.core.text import surrogate_at
from pipeline.ui.server.rates import Allowance
from pipeline.ui.server.sessions import Sessions
from pipeline.ui.shared.failures import REFUSAL, ToldRefusal
from pipeline.ui.shared.texts import t
from pipeline.ui.shared.visitors import Visitor, visitor_of

POSTS = re.compile(r"/gradio_api/(?P<way>queue/join|run|api|call)(?:/(?P<name>\w+))?/?")
STREAMS = re.compile(r"/gradio_api/(?:queue/data|call/\w+/(?P<event>\w+)|heartbeat/(?P<session>[\w-]+))/?")
SESSION = re.compile(r"[\w-]{1,64}", re.ASCII)
SESSION_COST = 15.0
"""Cost of a new session, in requests: its first response describes the whole page."""
NUMBERS = (int, float)
MAX_NUMBER = 2**63


class Refused(Exception):
    """The page never sends such a post."""


class Events:
    """ASGI middleware, before Gradio itself."""

    def __init__(
        self, app: ASGIApp, page: gr.Blocks, settings: Settings, sessions: Sessions, allowance: Allowance
    ) -> None:
        self._app = app
        self._page = page
        self._settings = settings
        self._sessions = sessions
        self._allowance = allowance

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._with_sweeper(scope, receive, send)
            return
        path = scope["path"]
        if scope["method"] == "POST" and path.startswith("/gradio_api/"):
            await self._post(scope, receive, send)
        elif scope["method"] == "GET" and (stream := STREAMS.fullmatch(path)):
            await self._stream(stream, scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _with_sweeper(self, scope: Scope, receive: Receive, send: Send) -> None:
        sweeper = asyncio.create_task(self._sessions.sweep_for_ever())
        try:
            await self._app(scope, receive, send)
        finally:
            sweeper.cancel()

    # ---- posts ----

    async def _post(self, scope: Scope, receive: Receive, send: Send) -> None:
        message = await receive()
        connection = HTTPConnection(scope)
        visitor = visitor_of(connection, self._settings)
        try:
            body = _json(message.get("body", b""))
            post = POSTS.fullmatch(scope["path"])
            if post:
                self._check(post["way"], post["name"], body)
            session = body.get("session_hash")
            if post and post["way"] == "call" and session is None:
                # Otherwise Gradio makes a session for each such event, which no quota counts.
                session = body["session_hash"] = f"program-{secrets.token_hex(16)}"
                message = {**message, "body": json.dumps(body).encode()}
            if session is not None and not (isinstance(session, str) and SESSION.fullmatch(session)):
                raise Refused("session_hash")
        except Refused as error:
            await _refuse(422, t("events.refused", what=str(error)))(scope, receive, send)
            return
        if session is not None and (refusal := await self._enter(session, connection, visitor)):
            await refusal(scope, receive, send)
            return
        if not self._sessions.has_room(visitor) and not self._allowance.is_owner(connection):
            await _refuse(429, t("events.unread"))(scope, receive, send)
            return
        scope[REFUSAL] = refusal_status = ToldRefusal()
        await self._app(scope, _replay(message, receive), refusal_status.telling(send))

    async def _enter(self, session: str, connection: HTTPConnection, visitor: Visitor) -> ASGIApp | None:
        """The refusal, when the session belongs to another browser or the visitor has too many; else None."""
        if self._sessions.is_new(session):
            if not self._allowance.take(connection, SESSION_COST):
                return _refuse(429, t("guards.rate"))
            if not await self._sessions.make_place(visitor.address) and not self._allowance.is_owner(connection):
                return _refuse(429, t("events.streams"))
        return None if self._sessions.enter(session, visitor) else _refuse(403, t("events.session"))

    def _check(self, way: str, name: str | None, body: dict[str, Any]) -> None:
        """Raises Refused for input on which Gradio would fail."""
        fn = self._function(name, body.get("fn_index"))
        data = body.get("data")
        if not isinstance(data, list):
            raise Refused("data")
        if way == "queue/join" and not isinstance(body.get("session_hash"), str):
            raise Refused("session_hash")
        self._check_trigger(fn, body)
        for name in ("event_id", "batched", "batch_trigger_ids", "request", "oauth_token"):
            if body.get(name):
                raise Refused(name)
        inputs = [block for block in fn.inputs if not block.skip_api] if len(data) != len(fn.inputs) else fn.inputs
        if len(data) > len(fn.inputs) or (len(data) < len(inputs) and way != "call"):
            raise Refused("data")
        for block, value in zip(inputs, data, strict=False):
            if not is_of(block, value):
                raise Refused(getattr(block, "label", None) or block.get_block_name())

    def _function(self, name: str | None, number: object) -> BlockFunction:
        if number is None:  # by name: programs call the public events
            public = (fn for fn in self._page.fns.values() if fn.api_visibility == "public")
            found = next((fn for fn in public if fn.api_name == name and name), None)
        else:
            found = self._page.fns.get(number) if type(number) is int else None
        if found is None or found.fn is None:  # some events run only JavaScript
            raise Refused("fn_index")
        return found

    def _check_trigger(self, fn: BlockFunction, body: dict[str, Any]) -> None:
        trigger, event_data = body.get("trigger_id"), body.get("event_data")
        if trigger is not None and not (
            type(trigger) is int and (trigger in self._page.blocks or trigger == self._page._id)
        ):
            raise Refused("trigger_id")
        if not _is_plain(event_data):  # a change sends the new value
            raise Refused("event_data")
        if fn.collects_event_data and not (
            trigger is not None and isinstance(event_data, dict) and isinstance(event_data.get("value"), str)
        ):
            raise Refused("event_data")

    # ---- streams ----

    async def _stream(self, stream: re.Match[str], scope: Scope, receive: Receive, send: Send) -> None:
        connection = HTTPConnection(scope)
        if stream["event"]:
            session = self._sessions.of_event(stream["event"])
        else:
            session = stream["session"] or connection.query_params.get("session_hash")
        visitor = visitor_of(connection, self._settings)
        is_data = stream["session"] is None
        if not session or not SESSION.fullmatch(session) or (is_data and not self._sessions.has_answers(session)):
            await _refuse(404, t("events.no_session"))(scope, receive, send)
            return
        if refusal := await self._enter(session, connection, visitor):
            await refusal(scope, receive, send)
            return
        is_owner = self._allowance.is_owner(connection)
        if not self._sessions.open_stream(session, visitor, is_data=is_data, is_owner=is_owner):
            await _refuse(429, t("events.streams"))(scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)
        finally:
            self._sessions.close_stream(session, visitor, is_data=is_data)


def is_of(block: Any, value: Any) -> bool:
    """Whether `value` has a type that the component `block` sends."""
    if getattr(block, "stateful", False):
        return True  # the value is kept on the server
    if value is None:  # an empty field
        return not isinstance(block, (gr.Radio, gr.Slider, gr.Checkbox))
    for kind, check in KINDS:
        if isinstance(block, kind):
            return check(block, value)
    return _is_plain(value)


def _is_number(block: Any, value: Any) -> bool:
    return type(value) in NUMBERS and abs(value) < MAX_NUMBER  # excludes infinity and NaN


def _is_choice(block: Any, value: Any) -> bool:
    """One value, or a list for a multiselect. Each is a string, as users may type their own, or has a choice's type."""
    several = isinstance(value, list)
    if several != bool(getattr(block, "multiselect", False)):
        return False
    kinds = {str, *(type(choice) for _, choice in block.choices)}
    return all(type(item) in kinds for item in (value if several else [value]))


KINDS: tuple[tuple[Any, Callable[[Any, Any], bool]], ...] = (
    ((gr.Number, gr.Slider), _is_number),
    ((gr.Dropdown, gr.Radio), _is_choice),
    (gr.Checkbox, lambda block, value: type(value) is bool),
    ((gr.Textbox, gr.HTML), lambda block, value: type(value) is str),
)
"""Gradio's own checks run later, and some of them end in a traceback."""


def _is_plain(value: Any, depth: int = 2) -> bool:
    """For endpoints for programs: text, numbers, and lists and objects of them. No file, which Gradio would fetch."""
    if isinstance(value, dict):
        is_file = value.keys() & {"path", "url", "meta"}
        return depth > 0 and not is_file and all(_is_plain(item, depth - 1) for item in value.values())
    if isinstance(value, list):
        return depth > 0 and all(_is_plain(item, depth - 1) for item in value)
    return value is None or type(value) in (str, bool, *NUMBERS)


def _json(data: bytes) -> dict[str, Any]:
    """Parses a body. Raises Refused unless it is a JSON object without lone surrogates."""
    if data.count(b"[") + data.count(b"{") > 10_000:
        raise Refused("body")
    try:
        body = json.loads(data or b"{}", parse_constant=_reject_constant)
    except (ValueError, RecursionError) as error:
        raise Refused("body") from error
    if not isinstance(body, dict):
        raise Refused("body")
    text = json.dumps(body, ensure_ascii=False)
    if (at := surrogate_at(text)) is not None:  # no response could encode it
        raise Refused(repr(text[at]))
    return body


def _reject_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _refuse(status: int, text: str) -> ASGIApp:
    # Gradio's clients show `detail`.
    return JSONResponse({"detail": text}, status, headers={"connection": "close"})


def _replay(message: Message, receive: Receive) -> Receive:
    messages = [message]

    async def received() -> Message:
        return messages.pop() if messages else await receive()

    return received
