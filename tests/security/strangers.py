"""Posts of strangers to the events of a public page: through every route, and actions that only the owner may take."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from inspect import signature
from typing import Any

from pipeline.core.paths import Home
from pipeline.gallery.examples import Examples
from pipeline.ui.server.api import Api
from tests.gallery.test_examples import keep
from tests.posts import events, get, post
from tests.security.public import PublicPage, address

WAYS = ("number", "run", "api", "call", "call/v2", "queue")
MAX_ROWS = 1_000
"""Rows of a scan: with more, all of `installed` would be read again and again."""


@dataclass(frozen=True)
class Post:
    event: dict[str, Any]
    way: str
    data: list[Any]
    told: Any = None
    """The value of the clicked element."""
    headers: dict[str, str] = field(default_factory=dict)


def usual_values(event: dict[str, Any]) -> list[Any]:
    """The values of its inputs as the page shows them, with sliders at most MAX_ROWS."""
    shown = zip(event["kinds"], event["values"], strict=True)
    return [min(value, MAX_ROWS) if kind == "slider" else value for kind, value in shown]


def sent(page: PublicPage, one: Post, session: str) -> tuple[int, str]:
    """Send a post from a new address. Returns the status and the whole response, with streams read to their end."""
    event, headers = one.event, {"x_forwarded_for": address(), **one.headers}
    name, body = event["api_name"], {"data": one.data, "session_hash": session}
    stream = f"/gradio_api/queue/data?session_hash={session}"
    if one.told is not None:
        body |= {"trigger_id": event["targets"][0][0], "event_data": one.told}
    if one.way == "number":
        return post(page, "/gradio_api/run/predict", {**body, "fn_index": event["id"]}, **headers)
    if one.way in ("run", "api"):
        return post(page, f"/gradio_api/{one.way}/{name}", body, **headers)
    if one.way == "queue":
        status, text = post(page, "/gradio_api/queue/join", {**body, "fn_index": event["id"]}, **headers)
    else:
        named = dict(zip(_parameters(name), one.data, strict=False))
        status, text = post(page, f"/gradio_api/{one.way}/{name}", named if one.way == "call/v2" else body, **headers)
        stream = f"/gradio_api/call/{name}/{json.loads(text).get('event_id')}" if status == 200 else ""
    if status != 200:
        return status, text
    found, answers = get(page, stream, **headers)
    return found, text + answers


def _parameters(name: str) -> list[str]:
    """Parameter names of an endpoint. A private event has none, so they are made up, as an attacker could."""
    if not hasattr(Api, name):
        return [f"param_{index}" for index in range(30)]
    return [each for each in signature(getattr(Api, name)).parameters if each not in ("self", "request")]


def kept_example(page: PublicPage) -> str:
    """The id of an example that is in the gallery."""
    return keep(Examples(Home(page.home).gallery), title="An example").id


def owner_posts(page: PublicPage, example: str) -> list[Post]:
    """Posts of actions that only the owner may take, with values that would take effect."""
    named = {event["api_name"]: event for event in events(page)}
    calls = [
        *((name, usual_values(named[name])) for name in ("begin", "prepare", "scan", "push")),
        ("start", ["ready", "tiny", "accelerate", {"max_steps": 1}, "", ""]),
        ("stop", ["calm-kea"]),
        ("retry", ["calm-kea"]),
        ("preview", [f"files:{page.inside}", ["CANARY"], 10, "substring"]),
        ("preview", ["files:/etc", ["root"], 10, "substring"]),
        ("preview", ["hub:any/thing", ["root"], 10, "substring"]),
    ]
    clicks = [
        *(("take", f"{action} {example}") for action in ("hide", "show", "pin", "unpin", "delete", "delete")),
        ("take", "sort"),
        *(("act", f"{action} ready") for action in ("delete", "stop", "ask", "resume", "push", "offer")),
        *(("offer", f"{action} ready") for action in ("offer", "push")),
    ]
    wrong = {"x_owner_key": "wrong-key-wrong-key-1234"}
    return [
        *(Post(named[name], "queue", data, headers=each) for name, data in calls for each in ({}, wrong)),
        *(Post(named[name], "queue", usual_values(named[name]), {"value": what}) for name, what in clicks),
    ]
