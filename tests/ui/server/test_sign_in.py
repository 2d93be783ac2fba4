"""Signing in and out over HTTP: behind the guards alone, and on the real page."""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from pipeline.core.atomic_io import read_lines
from pipeline.core.paths import Home
from pipeline.core.settings import Settings
from pipeline.ui.server.guards import Guards
from pipeline.ui.server.rates import Allowance
from pipeline.ui.server.sign_in import MAX_BODY_BYTES, SignIn
from pipeline.ui.shared.access import OWNER_COOKIE, Access
from tests.page import Page
from tests.posts import status_of_chunked
from tests.ui.conftest import OWNER_KEY as KEY
from tests.ui.conftest import Clock

UNLOCK, LOCK, WHO = "/studio/unlock", "/studio/lock", "/studio/who"
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    text: str

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.text)

    @property
    def token(self) -> str:
        found = re.match(rf"{OWNER_COOKIE}=([\w-]*);", self.headers["set-cookie"] or "")
        assert found, self.headers["set-cookie"]
        return found[1]


def send(port: int, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
    """`headers`: names with underscores for hyphens; the Host is 127.0.0.1 unless given."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    named = {"host": f"127.0.0.1:{port}", **{name.replace("_", "-"): value for name, value in headers.items()}}
    try:
        connection.request(method, path, body=body, headers=named)
        answer = connection.getresponse()
        return Answer(answer.status, answer.headers, answer.read().decode())
    finally:
        connection.close()


def unlock(port: int, key: str = KEY, **headers: str) -> Answer:
    return send(port, "POST", UNLOCK, json.dumps({"key": key}).encode(), **{"content_type": JSON, **headers})


def who(port: int, token: str = "", **headers: str) -> str:
    return send(port, "GET", WHO, cookie=f"{OWNER_COOKIE}={token}", **headers).json["state"]


# ---- behind the guards alone, with a test clock ----


@dataclass
class Served:
    port: int
    settings: Settings


Serve = Callable[..., Served]


@pytest.fixture
def serve(tmp_path: Path, clock: Clock) -> Iterator[Serve]:
    """Serves the two middlewares as the page does, on a loopback port but as if other machines could reach it."""
    servers: list[tuple[uvicorn.Server, threading.Thread]] = []

    def start(read_seconds: float = 10.0, **given: Any) -> Served:
        settings = Settings(home=tmp_path, **{"server_name": "0.0.0.0", "owner_key": KEY, **given})
        access = Access(settings, clock)

        async def own(request: Request) -> PlainTextResponse:
            return PlainTextResponse(access.of(request).state)

        sign_in = Middleware(SignIn, settings=settings, access=access, read_seconds=read_seconds)
        guards = Middleware(Guards, settings=settings, allowance=Allowance(settings, access))
        pages = ("/config", "/gradio_api/call/stop", "/gradio_api/call/stop/{event}")
        routes = [Route(path, own, methods=["GET", "POST"]) for path in pages]
        app = Starlette(routes=routes, middleware=[guards, sign_in])
        listener = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        servers.append((server, thread))
        return Served(listener.getsockname()[1], settings)  # connections wait in the listener until it runs

    yield start
    for server, thread in servers:
        server.should_exit = True
        thread.join()


@pytest.fixture
def port(serve: Serve) -> int:
    return serve().port


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (json.dumps({"key": KEY}).encode(), JSON),
        (json.dumps({"key": f" {KEY}\n", "more": [1]}).encode(), "application/json; charset=utf-8"),
        (b"key=" + KEY.replace(" ", "+").encode(), FORM),
        (b"more=1&key=" + KEY.replace(" ", "%20").encode() + b"%0D%0A", ""),
    ],
)
def test_the_key_of_a_form_or_of_json_signs_in(port: int, body: bytes, content_type: str) -> None:
    answer = send(port, "POST", UNLOCK, body, content_type=content_type)
    assert (answer.status, answer.json) == (200, {"state": "owner"})
    assert who(port, answer.token) == "owner"
    assert send(port, "GET", "/config", cookie=f"a=b; {OWNER_COOKIE}={answer.token}").text == "owner"
    assert who(port) == "locked", "control: no other browser"


def test_lock_ends_the_sign_in_and_takes_the_cookie_away(port: int) -> None:
    token, other = unlock(port).token, unlock(port).token
    answer = send(port, "POST", LOCK, cookie=f"{OWNER_COOKIE}={token}")
    assert (answer.status, answer.json, answer.token) == (200, {"state": "locked"}, "")
    assert "Max-Age=0" in answer.headers["set-cookie"]
    assert who(port, token) == "locked", "a copy of the cookie is worth nothing either"
    assert who(port, other) == "owner"


def test_a_cookie_of_another_process_is_not_valid(serve: Serve) -> None:
    one, other = serve().port, serve().port
    assert who(other, unlock(one).token) == "locked"


def test_responses_are_not_cached(port: int) -> None:
    answers = [unlock(port), unlock(port, "wrong"), send(port, "GET", WHO), send(port, "GET", UNLOCK)]
    assert {answer.headers["cache-control"] for answer in answers} == {"no-store"}


SPACE = {"space_id": "me/studio", "space_host": "me-studio.hf.space"}


@pytest.mark.parametrize(
    ("given", "headers", "rules"),
    [
        ({}, {}, {"HttpOnly", "SameSite=Strict"}),
        # uvicorn trusts a proxy on this machine.
        ({}, {"x_forwarded_proto": "https"}, {"HttpOnly", "SameSite=Strict", "Secure"}),
        (SPACE, {}, {"HttpOnly", "SameSite=None", "Secure", "Partitioned"}),
        (SPACE, {"x_forwarded_proto": "http"}, {"HttpOnly", "SameSite=None", "Secure", "Partitioned"}),
    ],
)
def test_the_cookie_is_as_restricted_as_its_site_allows(
    serve: Serve, given: dict[str, str], headers: dict[str, str], rules: set[str]
) -> None:
    port = serve(**given).port
    answer = unlock(port, **headers)
    expected = {"Max-Age=43200", "Path=/", *rules}
    assert set(answer.headers["set-cookie"].split("; ")[1:]) == expected
    taken = send(port, "POST", LOCK, cookie=f"{OWNER_COOKIE}={answer.token}", **headers)
    assert set(taken.headers["set-cookie"].split("; ")[1:]) == {*expected, "Max-Age=0"} - {"Max-Age=43200"}


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec_fetch_site": "cross-site"},
        {"host": "evil.example"},
    ],
)
def test_another_site_neither_signs_in_nor_out(serve: Serve, headers: dict[str, str]) -> None:
    served = serve()
    token = unlock(served.port).token
    cookie = f"{OWNER_COOKIE}={token}"
    for path in (UNLOCK, LOCK):
        body = json.dumps({"key": KEY}).encode()
        answer = send(served.port, "POST", path, body, content_type="text/plain", cookie=cookie, **headers)
        assert answer.status == (421 if "host" in headers else 403)
        assert answer.headers["set-cookie"] is None
    assert who(served.port, token) == "owner", "control: it was not signed out"
    assert [row["action"] for row in read_lines(Home(served.settings.home).audit)] == ["unlock"]


@pytest.mark.parametrize(("method", "path"), [("GET", UNLOCK), ("PUT", UNLOCK), ("GET", LOCK), ("POST", WHO)])
def test_each_path_takes_one_method(port: int, method: str, path: str) -> None:
    answer = send(port, method, path)
    assert (answer.status, answer.headers["allow"] in answer.json["message"]) == (405, True)


def test_other_paths_belong_to_the_page(port: int) -> None:
    assert send(port, "GET", "/studio/").status == 403
    assert send(port, "GET", "/config").text == "locked"


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", JSON),
        (b"{", JSON),
        (b"[" * 4_000, JSON),
        (b'["key"]', JSON),
        (b'"key"', JSON),
        (b'{"key": ["x"]}', JSON),
        (b'{"key": null}', JSON),
        (b"\xff\xfe", JSON),
        (b"\xff=\xff", FORM),
        (b"key=a&key=b", FORM),
        (b"&".join([b"a=b"] * 100), FORM),
        (b"--x\r\n", "multipart/form-data; boundary=x"),
    ],
)
def test_a_request_without_a_key_is_told_how_to_send_one(port: int, body: bytes, content_type: str) -> None:
    answer = send(port, "POST", UNLOCK, body, content_type=content_type)
    assert (answer.status, "No key came" in answer.json["message"]) == (400, True)


@pytest.mark.parametrize("key", ["\ud800", "\x00", "clé"])
def test_a_strange_key_is_simply_wrong(port: int, key: str) -> None:
    assert unlock(port, key).status == 403


def test_a_body_above_4_kilobytes_is_not_read(port: int) -> None:
    assert unlock(port, "x" * MAX_BODY_BYTES).status == 413
    assert status_of_chunked(port, UNLOCK, *[b"x" * 100] * 100) == 413
    assert unlock(port, "x" * (MAX_BODY_BYTES - 20)).status == 403, "control"


def test_an_incomplete_body_times_out(serve: Serve) -> None:
    port = serve(read_seconds=0.2).port
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        head = f"POST {UNLOCK} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {FORM}\r\nContent-Length: 50\r\n\r\nkey="
        client.sendall(head.encode())
        answer = b"".join(iter(lambda: client.recv(65_536), b""))
    assert answer.startswith(b"HTTP/1.1 408")
    assert who(port) == "locked", "control: the next one is served"


def test_a_wrong_key_is_refused_and_the_next_one_is_delayed(serve: Serve, clock: Clock) -> None:
    port = serve().port
    first, second = unlock(port, "wrong"), unlock(port, "wrong")
    assert (first.status, "That is not the owner's key." in first.json["message"]) == (403, True)
    assert (second.status, second.headers["retry-after"]) == (429, "1")
    assert "Wait 1 s" in second.json["message"]
    assert [answer.headers["set-cookie"] for answer in (first, second)] == [None, None]
    assert unlock(port).status == 200, "the right key works at any time"
    clock.now += 1
    unlock(port, "wrong")
    assert unlock(port, "wrong").headers["retry-after"] == "1", "it has also ended the delay"


def test_a_wrong_header_is_counted_once_for_each_call(serve: Serve) -> None:
    served = serve()
    for _ in range(3):
        assert send(served.port, "POST", "/gradio_api/call/stop", x_owner_key="wrong").text == "locked"
        assert send(served.port, "GET", "/gradio_api/call/stop/1", x_owner_key="wrong").text == "locked"  # the result
    for _ in range(3):
        assert send(served.port, "GET", "/config", x_owner_key=KEY).text == "owner"
    unlock(served.port)
    rows = read_lines(Home(served.settings.home).audit)
    assert [(row["action"], row.get("count")) for row in rows] == [("wrong key", 1), ("wrong key", 2), ("unlock", None)]


def test_behind_a_spaces_proxy_visitors_are_distinguished(serve: Serve) -> None:
    port = serve(**SPACE).port
    assert unlock(port, "wrong", x_forwarded_for="6.6.6.6, 8.8.8.8").status == 403
    assert unlock(port, "wrong", x_forwarded_for="7.7.7.7, 8.8.8.8").status == 429, "the first entry is forged"
    assert unlock(port, "wrong", x_forwarded_for="1.1.1.1").status == 403


def test_a_page_without_an_owner_key_is_closed(serve: Serve) -> None:
    served = serve(owner_key=None)
    answer = unlock(served.port, "")
    assert (answer.status, "without an owner's key" in answer.json["message"]) == (403, True)
    assert who(served.port, x_owner_key="x") == "closed"
    assert not Home(served.settings.home).audit.exists()


# ---- the real page: a forwarded request makes a page on loopback count as reachable by others ----

FORWARDED = {"x_forwarded_for": "203.0.113.77"}


def call_stop(page: Page, session_hash: str, **headers: str) -> str:
    """The error of /stop, called as an event of the page with this session hash."""
    body = json.dumps({"data": ["calm-kea"], "session_hash": session_hash}).encode()
    asked = send(page.port, "POST", "/gradio_api/call/stop", body, content_type=JSON, **FORWARDED, **headers)
    path = f"/gradio_api/call/stop/{asked.json['event_id']}"
    return send(page.port, "GET", path, **FORWARDED, **headers).text


@pytest.mark.slow
def test_on_the_page_a_session_hash_gives_no_rights_and_the_cookie_does(page: Page) -> None:
    token = unlock(page.port, **FORWARDED).token
    signed_in = call_stop(page, "the-owners-tab", cookie=f"{OWNER_COOKIE}={token}")
    assert "nothing to stop" in signed_in, "control: it reached the run, which has ended"
    assert "for the owner" in call_stop(page, "the-owners-tab")


@pytest.mark.slow
def test_on_the_page_another_site_signs_nobody_in(page: Page) -> None:
    answer = unlock(page.port, origin="https://evil.example", **FORWARDED)
    assert (answer.status, answer.headers["set-cookie"]) == (403, None)
    answer = send(page.port, "GET", WHO, origin="https://evil.example")
    assert answer.headers["access-control-allow-origin"] is None


@pytest.mark.slow
def test_on_the_page_100_wrong_keys_are_delayed_logged_in_a_few_lines_and_never_printed(page: Page) -> None:
    unlock(page.port, **FORWARDED)  # ends whatever delay other tests left to this address
    num_lines = len(read_lines(Home(page.home).audit))
    answers = [unlock(page.port, f"open sesame {number}", **FORWARDED) for number in range(100)]
    statuses = [answer.status for answer in answers]
    assert statuses[0] == 403
    assert set(statuses) == {403, 429}
    assert all("retry-after" in answer.headers for answer in answers if answer.status == 429)
    token = unlock(page.port, **FORWARDED).token
    assert who(page.port, token, **FORWARDED) == "owner"
    new = read_lines(Home(page.home).audit)[num_lines:]
    assert sum(row.get("count", 0) for row in new) == 100
    assert len(new) <= statuses.count(403) + 2, "one line for each step of the delay, one for the rest, and the owner's"
    written = Home(page.home).audit.read_text() + (page.home / "page.log").read_text()
    assert "open sesame" not in written
    assert KEY not in written
    assert token not in written


@pytest.mark.slow
def test_on_the_page_owners_actions_are_in_the_audit_log(page: Page) -> None:
    token = unlock(page.port, **FORWARDED).token
    call_stop(page, "a-tab", cookie=f"{OWNER_COOKIE}={token}")
    row = read_lines(Home(page.home).audit)[-1]
    expected = ("stop", "calm-kea", "203.0.113.77", "cookie")
    assert (row["action"], row["target"], row["address"], row["known_by"]) == expected
