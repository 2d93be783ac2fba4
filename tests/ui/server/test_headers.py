"""Headers of every response of the real page; responses that fail, or that the client does not read."""

from __future__ import annotations

import asyncio
import http.client
import re
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import HTMLResponse
from starlette.types import Receive, Scope, Send

from pipeline.core.settings import Settings
from pipeline.ui.server.headers import Headers, policy
from pipeline.ui.server.see_frame import frame_policy
from tests.page import Page


def answer(page: Page, path: str, **headers: str) -> tuple[http.client.HTTPResponse, str]:
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=60)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("GET", path, headers=named)
    found = connection.getresponse()
    return found, found.read().decode("utf-8", "replace")


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/", "/config", "/theme.css", "/gradio_api/info", "/nowhere", "/favicon.ico"])
def test_every_response_has_the_security_headers(page: Page, path: str) -> None:
    found, _ = answer(page, path)
    assert found.headers["x-content-type-options"] == "nosniff"
    assert found.headers["referrer-policy"] == "same-origin"
    assert (
        "frame-ancestors 'self' https://huggingface.co https://*.hf.space" in found.headers["content-security-policy"]
    )
    assert found.headers["server"] is None


@pytest.mark.slow
@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:1", "http://127.0.0.1:{port}"])
@pytest.mark.parametrize("path", ["/config", "/", "/gradio_api/info"])
def test_no_origin_is_reflected(page: Page, origin: str, path: str) -> None:
    found, _ = answer(page, path, origin=origin.format(port=page.port))
    assert [name for name in found.headers if name.lower().startswith("access-control")] == []


@pytest.mark.slow
def test_a_browser_gets_a_cookie_that_no_script_reads_and_keeps_it(page: Page) -> None:
    found, _ = answer(page, "/")
    cookie = found.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Lax" in cookie
    again, _ = answer(page, "/", cookie=cookie.partition(";")[0])
    assert again.headers["set-cookie"] is None
    behind, _ = answer(page, "/", x_forwarded_proto="https")
    assert "SameSite=None; Secure; Partitioned" in behind.headers["set-cookie"]


# ---- responses that fail, or that the client does not read ----

SCOPE: dict[str, Any] = {"type": "http", "method": "GET", "path": "/", "headers": [], "client": ("127.0.0.1", 1)}


async def received() -> dict[str, Any]:
    await asyncio.Event().wait()  # the client stays connected and sends nothing more
    raise AssertionError


def respond(app: Any, send: Send, **settings: Any) -> None:
    asyncio.run(Headers(app, Settings(), **settings)(dict(SCOPE), received, send))


def test_an_error_is_a_sentence_with_the_number_in_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    sent: list[dict[str, Any]] = []

    async def fails(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("a secret of ours")

    async def send(message: Any) -> None:
        sent.append(message)

    respond(fails, send)
    assert sent[0]["status"] == 500
    [number] = re.findall(r"number ([0-9a-f]{8})", sent[1]["body"].decode())
    assert "secret" not in sent[1]["body"].decode()
    assert f"[{number}]" in capsys.readouterr().err


def test_the_application_cannot_override_the_policy() -> None:
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    respond(HTMLResponse("x", headers={"content-security-policy": "default-src *"}), send)
    found = [value.decode() for name, value in sent[0]["headers"] if name == b"content-security-policy"]
    assert len(found) == 1 and found[0].startswith("default-src 'none'; script-src 'self' 'unsafe-eval';")


def directives(text: str) -> dict[str, str]:
    return dict(part.strip().partition(" ")[::2] for part in text.split(";"))


def test_the_frame_for_programs_adds_to_the_pages_policy_only_that_it_may_show_one() -> None:
    without, with_frame = directives(policy(["'sha256-x'"])), directives(policy(["'sha256-x'"], has_frame=True))
    assert with_frame.pop("frame-src") == "'self'"
    assert with_frame == without
    assert without["default-src"] == "'none'" and "frame-src" not in without
    assert "wasm" not in without["script-src"] and without["connect-src"] == "'self'"


@pytest.mark.slow
def test_the_pages_policy_names_no_other_host_and_the_frames_names_one_folder(page: Page) -> None:
    found, _ = answer(page, "/")
    own = directives(found.headers["content-security-policy"])
    assert own["connect-src"] == "'self'" and own["frame-src"] == "'self'" and "wasm-unsafe-eval" not in str(own)
    assert {name for name, value in own.items() if "https:" in value} == {"frame-ancestors"}
    found, document = answer(page, "/studio/see")
    framed = directives(found.headers["content-security-policy"])
    assert framed["connect-src"] == "https://cdn.jsdelivr.net/pyodide/v314.0.7/full/"
    assert framed["sandbox"] == "allow-scripts" and framed["default-src"] == "'none'"
    assert (
        "unsafe-inline" not in str(framed)
        and "'unsafe-eval'" not in str(framed)
        and "'self'" not in framed["script-src"]
    )
    assert framed["frame-ancestors"] == own["frame-ancestors"]
    assert found.headers["set-cookie"] is None, "it must not replace the visitor's"
    assert "loadPyodide" in document and found.headers["x-content-type-options"] == "nosniff"


def test_a_script_of_the_frame_that_is_changed_has_another_hash() -> None:
    assert frame_policy("a()", "https://x.example/") != frame_policy("b()", "https://x.example/")


@pytest.mark.slow
def test_an_instance_without_pyodide_has_neither_frame_nor_offer(tmp_path: Path) -> None:
    page = Page(tmp_path / "home", PIPELINE_PYODIDE_URL="")
    page.start()
    try:
        found, _ = answer(page, "/")
        assert "frame-src" not in found.headers["content-security-policy"]
        found, document = answer(page, "/studio/see")
        assert found.status == 404 and "loadPyodide" not in document
    finally:
        page.kill()


def test_a_response_that_is_not_read_is_dropped() -> None:
    ended = []

    async def endless(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await HTMLResponse("x")(scope, receive, send)
        finally:
            ended.append(True)

    async def never(message: Any) -> None:
        await asyncio.Event().wait()

    respond(endless, never, send_seconds=0.05)
    assert ended == [True]
