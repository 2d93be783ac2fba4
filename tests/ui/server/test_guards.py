"""Responses of the real page over HTTP: unknown hosts, other sites, large bodies and closed paths are refused."""

from __future__ import annotations

import http.client
import json
import re
import socket
import time

import pytest

from pipeline.ui.server.guards import MAX_BODIES
from pipeline.ui.server.sessions import MAX_UNREAD_OF_EACH
from tests.page import Page
from tests.posts import status_of_chunked
from tests.ui.conftest import OWNER_KEY

pytestmark = pytest.mark.slow
CONFIG = "/config"
JOIN = "/gradio_api/queue/join"


def ask(page: Page, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, str]:
    """Status and text. `headers`: names with underscores for hyphens; the Host is the page's own unless given."""
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=30)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    named.setdefault("host", f"127.0.0.1:{page.port}")
    try:
        connection.request(method, path, body=body, headers=named)
        answer = connection.getresponse()
        return answer.status, answer.read().decode("utf-8", "replace")
    finally:
        connection.close()


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "[::1]:{port}", "LOCALHOST"])
def test_loopback_names_are_served(page: Page, host: str) -> None:
    assert ask(page, "GET", CONFIG, host=host.format(port=page.port))[0] == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.nip.io:{port}", "192.168.1.5:{port}", ""])
def test_other_host_names_are_refused_with_what_to_do(page: Page, host: str) -> None:
    status, text = ask(page, "GET", CONFIG, host=host.format(port=page.port))
    assert status in (400, 421)
    assert "Open it under the address" in text or status == 400


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
    ],
)
def test_another_site_cannot_post_events(page: Page, headers: dict[str, str]) -> None:
    status, text = ask(page, "POST", JOIN, b"{}", content_type="application/json", **headers)
    assert (status, "Another site" in text) == (403, True)


@pytest.mark.parametrize("headers", [{}, {"origin": "http://127.0.0.1:{port}"}, {"sec_fetch_site": "same-origin"}])
def test_the_page_itself_and_programs_can_post_events(page: Page, headers: dict[str, str]) -> None:
    """Control: such a request passes the guards, and is then refused as incomplete."""
    own = {name: value.format(port=page.port) for name, value in headers.items()}
    assert ask(page, "POST", JOIN, b"{}", content_type="application/json", **own)[0] == 422


def test_a_large_body_is_refused_by_its_length(page: Page) -> None:
    assert ask(page, "POST", JOIN, b" " * 1_100_000, content_type="application/json")[0] == 413


def test_a_body_that_hides_its_length_is_refused(page: Page) -> None:
    """Its chunks would be parsed one by one, in Python, before any limit applies."""
    assert status_of_chunked(page.port, JOIN, b"x") == 400


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/gradio_api/upload"),
        ("GET", "/gradio_api/file=http://127.0.0.1:1/"),
        ("GET", "/gradio_api/file=https://evil.example/"),
        ("GET", "/gradio_api/file=HTTP://evil.example/"),
        ("GET", "/gradio_api/proxy=https://evil.example/"),
        ("GET", "/gradio_api/deep_link?session_hash=x"),
        ("POST", "/gradio_api/component_server"),
        ("POST", "/gradio_api/vibe-edit/"),
        ("GET", "/gradio_api/vibe-code/"),
        ("GET", "/custom_component/1/client/component/index.js"),
        ("GET", "/gradio_api/stream/x/1/1/playlist.m3u8"),
        ("GET", "/pwa_icon/512"),
        ("GET", "/svelte/x"),
        ("POST", "/login"),
        ("GET", "/monitoring/summary"),
        ("GET", "/gradio_api/file=/etc/passwd"),
        ("GET", "/static/../../../etc/passwd"),
        ("GET", "/assets/%2e%2e/%2e%2e/config"),
    ],
)
def test_paths_that_accept_or_fetch_files_are_closed(page: Page, method: str, path: str) -> None:
    status, text = ask(page, method, path, b"" if method == "POST" else None)
    assert (status, "nothing at that address" in text) == (403, True)


def test_a_file_of_the_home_is_not_served(page: Page) -> None:
    path = page.home / "runs" / "calm-kea" / "status.json"
    assert path.exists()
    assert ask(page, "GET", f"/gradio_api/file={path}")[0] == 403


@pytest.mark.parametrize("path", ["/monitoring/summary", "/docs", "/redoc", "/gradio_api/runs"])
def test_unused_routes_of_gradio_are_closed(page: Page, path: str) -> None:
    status, text = ask(page, "GET", path)
    assert status in (403, 404) or "detail" in text


def call(page: Page, name: str, *values: object, **headers: str) -> tuple[str, str]:
    """Call an endpoint as any program can. Returns the last event and its data."""
    body = json.dumps({"data": list(values)}).encode()
    status, text = ask(page, "POST", f"/gradio_api/call/{name}", body, content_type="application/json", **headers)
    assert status == 200, text
    _, stream = ask(page, "GET", f"/gradio_api/call/{name}/{json.loads(text)['event_id']}", **headers)
    events = re.findall(r"event: (\w+)\ndata: (.*)", stream)
    return events[-1]


def test_exactly_the_named_endpoints_exist(page: Page) -> None:
    names = set(json.loads(ask(page, "GET", "/gradio_api/info")[1])["named_endpoints"])
    assert names == {
        "/preview",
        "/start",
        "/stop",
        "/retry",
        "/status",
        "/generate",
        "/score",
        "/revisions",
        "/examples",
        "/evaluate",
        "/stop_evaluation",
        "/evaluations",
    }


def test_programs_read_runs_and_revisions(page: Page) -> None:
    event, data = call(page, "status", "calm-kea")
    assert (event, json.loads(data)[0]["state"]) == ("complete", "finished")
    event, data = call(page, "revisions")
    [revision] = json.loads(data)[0]
    assert (revision["run"], revision["step"]) == ("calm-kea", 20)


FORWARDED = {"x_forwarded_for": "203.0.113.9"}


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("start", ["ready", "tiny", "accelerate", {}, "", ""]),
        ("stop", ["calm-kea"]),
        ("preview", ["files:/etc", ["root"], 10, "substring"]),
        ("evaluate", ["calm-kea", "newest", "", "", 10, ""]),
        ("stop_evaluation", []),
    ],
)
def test_a_stranger_cannot_start_stop_or_read_files(page: Page, name: str, values: list[object]) -> None:
    event, data = call(page, name, *values, **FORWARDED)
    assert (event, "for the owner" in data) == ("error", True)
    event, data = call(page, name, *values, **FORWARDED, x_owner_key="wrong")
    assert (event, "the owner" in data) == ("error", True)


def test_the_owners_key_gives_access(page: Page) -> None:
    """Control: with the key the same call reaches the run, which has ended."""
    event, data = call(page, "stop", "calm-kea", **FORWARDED, x_owner_key="correct horse battery staple")
    assert (event, "nothing to stop" in data) == ("error", True)


def test_an_error_reaches_a_program_unescaped(page: Page) -> None:
    """The page itself calls no endpoint, so nothing shows it as HTML."""
    event, data = call(page, "status", "O'Neill & <Sons>")
    assert event == "error"
    assert "O'Neill & <Sons>" in json.loads(data)["error"]


# ---- found by a second attack ----


def test_calls_with_named_values_are_closed(page: Page) -> None:
    """Gradio's newer call route accepts files, and copies them."""
    body = json.dumps(
        {"source": "installed", "keywords": {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}}
    )
    status, text = ask(page, "POST", "/gradio_api/call/v2/preview", body.encode(), content_type="application/json")
    assert (status, "nothing at that address" in text) == (403, True)


@pytest.mark.parametrize("name", ["inspect", "begin", "act", "look"])
def test_the_pages_own_events_are_no_endpoints(page: Page, name: str) -> None:
    status, _ = ask(page, "POST", f"/gradio_api/call/{name}", b'{"data": []}', content_type="application/json")
    assert status == 422


def test_calls_without_a_session_count_for_their_address(page: Page) -> None:
    """Each used to create a session in Gradio, whose queue stopped for good at the 2,000th."""
    body, found = b'{"data": ["nothing"]}', []
    for _ in range(MAX_UNREAD_OF_EACH + 8):
        time.sleep(0.12)  # stays within the rate limit
        found.append(
            ask(
                page,
                "POST",
                "/gradio_api/call/status",
                body,
                content_type="application/json",
                x_forwarded_for="9.8.7.6",
            )
        )
    assert [status for status, _ in found].count(200) >= MAX_UNREAD_OF_EACH
    assert found[-1][0] == 429
    assert call(page, "revisions")[0] == "complete", "others are answered"


def flood(page: Page, peer: str) -> None:
    """Send requests until the address is refused."""
    for _ in range(2_000):
        if ask(page, "GET", "/", x_forwarded_for=peer)[0] == 429:
            return
    raise AssertionError("an address is never refused")


def test_a_flooder_behind_the_owners_address_does_not_keep_the_owner_out(page: Page) -> None:
    peer = "9.8.7.5"
    flood(page, peer)
    assert {ask(page, "GET", "/", x_forwarded_for=peer, x_owner_key=OWNER_KEY)[0] for _ in range(20)} == {200}
    assert unlock(page, peer) == 200


def test_slow_bodies_from_the_owners_address_do_not_keep_the_owner_out(page: Page) -> None:
    peer = "9.8.7.4"
    head = f"POST {JOIN} HTTP/1.1\r\nhost: 127.0.0.1:{page.port}\r\nx-forwarded-for: {peer}\r\n"
    slow = [socket.create_connection(("127.0.0.1", page.port)) for _ in range(MAX_BODIES + 2)]
    try:
        for connection in slow:
            connection.sendall(f"{head}content-type: application/json\r\ncontent-length: 100\r\n\r\n".encode())
        time.sleep(0.5)
        body = {"content_type": "application/json", "x_forwarded_for": peer}
        assert ask(page, "POST", JOIN, b"{}", **body)[0] == 429, "control"
        assert unlock(page, peer) == 200
    finally:
        for connection in slow:
            connection.close()


def unlock(page: Page, peer: str) -> int:
    body = json.dumps({"key": OWNER_KEY}).encode()
    return ask(page, "POST", "/studio/unlock", body, content_type="application/json", x_forwarded_for=peer)[0]


def test_a_session_made_by_a_heartbeat_costs_as_much_as_any_other(page: Page) -> None:
    """A heartbeat is cheap, and used to create a session that later requests entered for free."""
    peer, statuses = "9.8.7.3", []
    for number in range(300):
        with socket.create_connection(("127.0.0.1", page.port)) as connection:
            path = f"/gradio_api/heartbeat/flood-{number}"
            connection.sendall(f"GET {path} HTTP/1.1\r\nhost: localhost\r\nx-forwarded-for: {peer}\r\n\r\n".encode())
            statuses.append(int(connection.recv(12).split()[1]))
    assert statuses[:5] == [200] * 5
    assert 429 in statuses


def test_a_get_request_with_a_body_is_refused(page: Page) -> None:
    assert ask(page, "GET", CONFIG, b"x" * 10)[0] == 400


def test_many_header_lines_are_refused(page: Page) -> None:
    assert ask(page, "GET", CONFIG, **{f"x_{number}": "a" for number in range(70)})[0] == 431


def test_a_forged_forwarded_host_is_not_in_the_page(page: Page) -> None:
    _, text = ask(page, "GET", "/", x_forwarded_host="evil.example")
    assert "evil.example" not in text
