"""What a post to one of Gradio's events must be before Gradio runs it: of an event that there is, with values of the kinds that its
inputs send, in a session of the visitor's own; and what becomes of sessions whose visitor is gone.
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
from pipeline.ui.server.rates import Allowance
from pipeline.ui.server.sessions import Sessions
from pipeline.ui.shared.texts import t
from pipeline.ui.shared.visitors import Visitor, visitor_of

POSTS = re.compile(r"/gradio_api/(?P<way>queue/join|run|api|call)(?:/(?P<name>\w+))?/?")
STREAMS = re.compile(r"/gradio_api/(?:queue/data|call/\w+/(?P<event>\w+)|heartbeat/(?P<session>[\w-]+))/?")
SESSION = re.compile(r"[\w-]{1,64}", re.ASCII)
SESSION_COST = 15.0
"""In requests: the first answer to a session describes the whole page."""
NUMBERS = (int, float)
MAX_NUMBER = 2**63
REFUSAL = "studio.refusal"
"""Where a request carries its Refusal."""


class Refused(Exception):
    """The post is none that the page makes."""


class Refusal:
    """Whether the answer to one post is a sentence for whoever asked. Gradio answers 500, as for a fault of its own."""

    def __init__(self) -> None:
        self.is_told = False

    def telling(self, send: Send) -> Send:
        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 500 and self.is_told:
                message["status"] = 400
            await send(message)

        return sent


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
        asked = HTTPConnection(scope)
        visitor = visitor_of(asked, self._settings)
        try:
            body = _json(message.get("body", b""))
            post = POSTS.fullmatch(scope["path"])
            if post:
                self._check(post["way"], post["name"], body)
            session = body.get("session_hash")
            if post and post["way"] == "call" and session is None:
                # Gradio would make a session for each such event, which no quota knows.
                session = body["session_hash"] = f"program-{secrets.token_hex(16)}"
                message = {**message, "body": json.dumps(body).encode()}
            if session is not None and not (isinstance(session, str) and SESSION.fullmatch(session)):
                raise Refused("session_hash")
        except Refused as error:
            await _refuse(422, t("events.refused", what=str(error)))(scope, receive, send)
            return
        if session is not None and (refusal := self._enter(session, asked, visitor)):
            await refusal(scope, receive, send)
            return
        if not self._sessions.has_room(visitor) and not self._allowance.is_owner(asked):
            await _refuse(429, t("events.unread"))(scope, receive, send)
            return
        scope[REFUSAL] = told = Refusal()
        await self._app(scope, _again(message, receive), told.telling(send))

    def _enter(self, session: str, asked: HTTPConnection, visitor: Visitor) -> ASGIApp | None:
        """The refusal, when the session is another browser's, or one session too many."""
        if self._sessions.is_new(session):
            if not self._allowance.take(asked, SESSION_COST):
                return _refuse(429, t("guards.rate"))
            if not self._sessions.make_place(visitor.address) and not self._allowance.is_owner(asked):
                return _refuse(429, t("events.streams"))
        return None if self._sessions.enter(session, visitor) else _refuse(403, t("events.session"))

    def _check(self, way: str, name: str | None, body: dict[str, Any]) -> None:
        """Raises Refused for what Gradio would stumble over."""
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
        if number is None:  # by name: for programs, which know the public ones
            public = (fn for fn in self._page.fns.values() if fn.api_visibility == "public")
            found = next((fn for fn in public if fn.api_name == name and name), None)
        else:
            found = self._page.fns.get(number) if type(number) is int else None
        if found is None or found.fn is None:  # some events are JavaScript alone
            raise Refused("fn_index")
        return found

    def _check_trigger(self, fn: BlockFunction, body: dict[str, Any]) -> None:
        trigger, told = body.get("trigger_id"), body.get("event_data")
        if trigger is not None and not (
            type(trigger) is int and (trigger in self._page.blocks or trigger == self._page._id)
        ):
            raise Refused("trigger_id")
        if not _is_plain(told):  # of a change, it is the new value
            raise Refused("event_data")
        if fn.collects_event_data and not (
            trigger is not None and isinstance(told, dict) and isinstance(told.get("value"), str)
        ):
            raise Refused("event_data")

    # ---- streams ----

    async def _stream(self, stream: re.Match[str], scope: Scope, receive: Receive, send: Send) -> None:
        asked = HTTPConnection(scope)
        if stream["event"]:
            session = self._sessions.of_event(stream["event"])
        else:
            session = stream["session"] or asked.query_params.get("session_hash")
        visitor = visitor_of(asked, self._settings)
        is_data = stream["session"] is None
        if not session or not SESSION.fullmatch(session) or (is_data and not self._sessions.has_answers(session)):
            await _refuse(404, t("events.no_session"))(scope, receive, send)
            return
        if refusal := self._enter(session, asked, visitor):
            await refusal(scope, receive, send)
            return
        is_owner = self._allowance.is_owner(asked)
        if not self._sessions.open_stream(session, visitor, is_data=is_data, is_owner=is_owner):
            await _refuse(429, t("events.streams"))(scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)
        finally:
            self._sessions.close_stream(session, visitor, is_data=is_data)


def is_of(block: Any, value: Any) -> bool:
    """Whether `value` is of a kind that the component `block` sends."""
    if getattr(block, "stateful", False):
        return True  # the server has its own
    if value is None:  # a field that is empty
        return not isinstance(block, (gr.Radio, gr.Slider, gr.Checkbox))
    for kind, check in KINDS:
        if isinstance(block, kind):
            return check(block, value)
    return _is_plain(value)


def _is_number(block: Any, value: Any) -> bool:
    return type(value) in NUMBERS and abs(value) < MAX_NUMBER  # neither infinite nor none at all


def _is_choice(block: Any, value: Any) -> bool:
    """One, or a list of them where several can be chosen; one of its own where those may be typed in."""
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
"""Gradio's own checks come later, and some of them are tracebacks."""


def _is_plain(value: Any, depth: int = 2) -> bool:
    """Of an endpoint for programs: text, numbers, and lists and objects of them. No file, which Gradio would fetch."""
    if isinstance(value, dict):
        is_file = value.keys() & {"path", "url", "meta"}
        return depth > 0 and not is_file and all(_is_plain(item, depth - 1) for item in value.values())
    if isinstance(value, list):
        return depth > 0 and all(_is_plain(item, depth - 1) for item in value)
    return value is None or type(value) in (str, bool, *NUMBERS)


def _json(data: bytes) -> dict[str, Any]:
    """Raises Refused unless it is an object."""
    if data.count(b"[") + data.count(b"{") > 10_000:
        raise Refused("body")
    try:
        body = json.loads(data or b"{}", parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise Refused("body") from error
    if not isinstance(body, dict):
        raise Refused("body")
    try:
        json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:  # half a character, which no answer could repeat
        raise Refused(repr(error.object[error.start])) from error
    return body


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _refuse(status: int, text: str) -> ASGIApp:
    # `detail` is what Gradio's clients show.
    return JSONResponse({"detail": text}, status, headers={"connection": "close"})


def _again(message: Message, receive: Receive) -> Receive:
    messages = [message]

    async def received() -> Message:
        return messages.pop() if messages else await receive()

    return received
