"""The tools of the MCP server, asked for by the real client over loopback, and what they refuse."""

from __future__ import annotations

import asyncio
import http.client
import inspect
import json
import math
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.core.errors import InputError
from pipeline.core.paths import Home
from pipeline.core.settings import Settings
from pipeline.ui.data.scans import MAX_OF_OWNER
from pipeline.ui.server import tools
from pipeline.ui.server.api import ENDPOINTS, Api
from pipeline.ui.server.tools import Tools, input_schema
from pipeline.ui.shared.engine import Engine
from tests.data.dataset_hub import DatasetHub
from tests.homes import write_run
from tests.page import Page
from tests.ui.conftest import OWNER_KEY
from tests.ui.server.test_guards import ask
from tests.waiting import eventually

CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
HEADERS = {"content_type": "application/json", "accept": "application/json, text/event-stream"}


@pytest.mark.parametrize("name", ENDPOINTS)
def test_the_schema_of_a_tool_has_each_argument_with_its_type_and_meaning(name: str) -> None:
    method = getattr(Api(Engine(Settings())), name)
    properties = input_schema(method)["properties"]
    assert list(properties) == [one for one in inspect.signature(method).parameters if one != "request"]
    assert all(value["description"] for value in properties.values())


def test_without_the_package_the_start_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setitem(__import__("sys").modules, "mcp.server.lowlevel", None)
    with pytest.raises(InputError, match=r"pip install -c constraints.txt -r requirements-mcp.txt"):
        Tools(Api(Engine(Settings(home=tmp_path))))


def fails(run: str) -> Any:
    raise OSError(2, "no such file", "/home/secret/place")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (fails, "/home/secret/place"),
        (lambda run: {"loss": math.nan}, "not JSON compliant"),
        (lambda run: {1, 2}, "set"),
    ],
)
def test_an_unexpected_error_is_told_by_a_number_that_the_log_has(
    call: Any, words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Api, "status", lambda self, run: call(run))
    monkeypatch.setattr(tools, "input_schema", lambda call: {"properties": {"run": {}}})
    asked: Any = (SimpleNamespace(request=None), SimpleNamespace(name="status", arguments={"run": "x"}))
    found = asyncio.run(Tools(Api(Engine(Settings(home=tmp_path))))._call(*asked))
    (content,) = found.content
    log = capsys.readouterr().err
    assert found.is_error and (number := re.search(r"[0-9a-f]{8}", content.text))
    assert words not in content.text and f"[{number[0]}] Traceback" in log and words in log


@pytest.fixture(scope="module")
def lan_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A page that other machines reach, with tools."""
    home = Home(tmp_path_factory.mktemp("tools") / "home")
    write_run(home, "calm-kea")
    page = Page(home.path, GRADIO_SERVER_NAME="0.0.0.0", PIPELINE_OWNER_KEY=OWNER_KEY, PIPELINE_MCP="1")
    page.start()
    yield page
    page.kill()


def by_client(page: Page, work: Callable[[Any], Any], **headers: str) -> Any:
    """What `work` does with a client of the library itself."""
    import httpx2
    from mcp.client.client import Client
    from mcp.client.streamable_http import streamable_http_client

    async def run() -> Any:
        async with (
            httpx2.AsyncClient(headers=headers, timeout=120) as http,
            Client(streamable_http_client(f"{page.url}/mcp", http_client=http)) as client,
        ):
            return await work(client)

    return asyncio.run(run())


def called(page: Page, name: str, arguments: dict[str, Any], **headers: str) -> Any:
    return by_client(page, lambda client: client.call_tool(name, arguments), **headers)


@pytest.mark.slow
def test_the_tools_are_the_endpoints_and_no_handler_of_the_page(lan_page: Page) -> None:
    found = by_client(lan_page, lambda client: client.list_tools()).tools
    assert [tool.name for tool in found] == list(ENDPOINTS)
    generate = next(tool for tool in found if tool.name == "generate")
    assert generate.description.startswith("Complete a prompt of Python code")
    assert generate.input_schema["required"] == ["prompt"]
    assert generate.input_schema["properties"]["temperature"] == {
        "type": "number", "default": 0.6, "description": "0 takes the likeliest token each time.",
    }  # fmt: skip


@pytest.mark.slow
def test_a_visitors_program_completes_a_prompt_and_reads_runs(lan_page: Page) -> None:
    found = called(lan_page, "generate", {"prompt": "import numpy as", "max_new_tokens": 4})
    assert not found.is_error, found.content
    assert found.structured_content["repo"] == "starter" and len(found.structured_content["samples"]) == 1
    assert json.loads(found.content[0].text) == found.structured_content
    assert called(lan_page, "status", {"run": "calm-kea"}).structured_content["state"] == "finished"
    assert isinstance(called(lan_page, "revisions", {}).structured_content["result"], list)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("start", {"corpus": "ready"}),
        ("stop", {"run": "calm-kea"}),
        ("retry", {"run": "calm-kea"}),
        ("evaluate", {"run": "calm-kea"}),
        ("stop_evaluation", {}),
        ("preview", {"source": "files:/etc"}),
        ("generate", {"prompt": "x", "revision": "somebody/model"}),
    ],
)
def test_what_is_the_owners_needs_the_key(lan_page: Page, name: str, arguments: dict[str, Any]) -> None:
    for headers in ({}, {"X-Owner-Key": "wrong key of a stranger"}, {"X-Forwarded-For": "127.0.0.1"}):
        found = called(lan_page, name, arguments, **headers)
        assert found.is_error and "the owner" in found.content[0].text, found.content
    assert not Home(lan_page.home).evaluating.path.exists()


@pytest.mark.slow
def test_with_the_key_it_is_allowed(lan_page: Page) -> None:
    """Control: the call reaches the run, which has ended."""
    found = called(lan_page, "stop", {"run": "calm-kea"}, **{"X-Owner-Key": OWNER_KEY})
    assert found.is_error and "nothing to stop" in found.content[0].text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("generate", {}, "The arguments of generate are prompt"),
        ("generate", {"prompt": "x", "request": {}}, "and no others"),
        ("generate", {"prompt": 3}, "prompt is '3'"),
        ("generate", {"prompt": "x", "samples": 10**6}, "samples is 1000000"),
        ("score", {"text": {"path": "/etc/passwd"}}, "text is"),
        ("refresh", {}, "There is no tool 'refresh'"),
        ("begin", {}, "There is no tool 'begin'"),
        ("connect", {}, "There is no tool 'connect'"),
        ("status", {"run": "../x"}, "run id is '../x'"),
    ],
)
def test_what_is_wrong_is_one_sentence(lan_page: Page, name: str, arguments: dict[str, Any], words: str) -> None:
    found = called(lan_page, name, arguments)
    assert found.is_error and words in found.content[0].text, found.content


def posted(page: Page, body: bytes, **headers: str) -> tuple[int, str]:
    return ask(page, "POST", "/mcp", body, **{**HEADERS, **headers})


@pytest.mark.slow
def test_the_guards_of_the_page_are_before_the_tools(lan_page: Page) -> None:
    call = json.dumps({**CALL, "params": {"name": "status", "arguments": {"run": "calm-kea"}}}).encode()
    assert posted(lan_page, call)[0] == 200
    assert posted(lan_page, call, origin="https://evil.example")[0] == 403
    assert posted(lan_page, call, host="evil.example")[0] == 421
    assert posted(lan_page, call + b" " * 300_000)[0] == 413
    assert ask(lan_page, "GET", "/mcp", accept="text/event-stream")[0] == 405
    assert ask(lan_page, "DELETE", "/mcp")[0] == 405
    assert ask(lan_page, "GET", "/mcp/http")[0] == ask(lan_page, "GET", "/gradio_api/mcp/sse")[0] == 403
    for odd in (
        b"",
        b"[",
        b"[]",
        b"{}",
        b"[" * 60_000,
        b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call"}',
        b"\xff",
    ):
        status, text = posted(lan_page, odd)
        assert 400 <= status < 500 or (status == 200 and "error" in text), (odd[:20], status, text[:100])
    surrogate = call.replace(b"calm-kea", b"\\ud800")
    assert posted(lan_page, surrogate)[0] < 500
    assert posted(lan_page, call)[0] == 200, "it still answers"


@pytest.mark.slow
def test_calls_are_counted_for_the_visitor_who_makes_them(lan_page: Page) -> None:
    """A flood from one address ends, and another address is served."""
    call = (
        json.dumps({**CALL, "params": {"name": "status", "arguments": {"run": "calm-kea"}}}).encode() + b" " * 200_000
    )  # bytes cost, too
    connection = http.client.HTTPConnection("127.0.0.1", lan_page.port, timeout=60)
    seen = []
    for _ in range(300):
        head = {"content-type": "application/json", "accept": HEADERS["accept"], "x-forwarded-for": "203.0.113.9"}
        connection.request("POST", "/mcp", body=call, headers=head)
        answer = connection.getresponse()
        answer.read()
        seen.append(answer.status)
        if answer.status == 429:
            break
    connection.close()
    assert seen[-1] == 429 and set(seen) == {200, 429}
    assert posted(lan_page, call, x_forwarded_for="203.0.113.10")[0] == 200


@pytest.mark.slow
def test_a_scan_whose_callers_have_left_is_ended(tmp_path: Path) -> None:
    """Its source is silent, so nothing else ends it for two minutes."""
    with DatasetHub({"me/code": {"train.jsonl": b'{"content": "import pandas"}\n'}}) as hub:
        hub.silent = "train.jsonl"
        page = Page(tmp_path / "home", PIPELINE_OWNER_KEY=OWNER_KEY, PIPELINE_MCP="1", HF_ENDPOINT=hub.endpoint)
        page.start()
        callers = [http.client.HTTPConnection("127.0.0.1", page.port, timeout=60) for _ in range(MAX_OF_OWNER)]
        head = {"content-type": "application/json", "accept": HEADERS["accept"], "x-owner-key": OWNER_KEY}
        try:
            for number, caller in enumerate(callers):
                arguments = {"source": "hub:me/code", "keywords": [f"word{number}"]}
                call = {**CALL, "params": {"name": "preview", "arguments": arguments}}
                caller.request("POST", "/mcp", body=json.dumps(call).encode(), headers=head)

            def is_full() -> bool:
                arguments = {"limit": 1, "keywords": [f"word{time.monotonic()}"]}  # no scan that is cached
                found = called(page, "preview", arguments, **{"X-Owner-Key": OWNER_KEY})
                return found.is_error and "scans" in found.content[0].text

            eventually(is_full, "four scans run")
            for caller in callers:
                caller.close()
            eventually(lambda: not is_full(), "the scans to end", 20)
        finally:
            page.kill()


@pytest.mark.slow
def test_without_the_variable_there_are_no_tools(page: Page) -> None:
    status, text = posted(page, b"{}")
    assert (status, "nothing at that address" in text) == (403, True)
    assert tools.PATH == "/mcp"
