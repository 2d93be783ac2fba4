"""The page is rendered once for each origin, and only its own inline scripts may run in it."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import http.client
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from starlette.responses import HTMLResponse, PlainTextResponse

from pipeline.settings import Settings
from pipeline.ui import page_cache
from pipeline.ui.access import Access
from pipeline.ui.headers import Headers
from pipeline.ui.page_cache import MAX_ENTRIES, MAX_RENDERINGS, RENDER_COST, PageCache
from pipeline.ui.rates import Allowance, Rate, Rates
from tests.page import Page

PAGE = "<html><script>one()</script><script type='module' src='/a.js'></script><script async>two(\n)</script></html>"
PLENTY = Rate(10**6, 1)


def allowed(policy: str) -> set[str]:
    return set(re.findall(r"'sha256-([^']+)'", policy))


def digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


class _Scripts(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._is_inline = False

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self._is_inline = tag == "script" and "src" not in dict(attrs)

    def handle_data(self, data: str) -> None:
        if self._is_inline:
            self.found.append(data)

    def handle_endtag(self, tag: str) -> None:
        self._is_inline = False


def inline_scripts(page: str) -> list[str]:
    """As a parser of HTML reads them."""
    parser = _Scripts()
    parser.feed(page)
    return parser.found


class Gradio:
    """Counts how often it renders."""

    def __init__(self, status: int = 200) -> None:
        self.asked: list[dict[str, Any]] = []
        self._status = status

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked.append(scope)
        await asyncio.sleep(0.01)
        await HTMLResponse(PAGE, self._status)(scope, receive, send)


def get(
    cache: PageCache, path: str = "/", query: bytes = b"", method: str = "GET", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    return asyncio.run(got(cache, path, query, method, **headers))


async def got(
    cache: PageCache, path: str = "/", query: bytes = b"", method: str = "GET", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """As it leaves the page, behind Headers."""
    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "scheme": "http", "path": path, "query_string": query, "headers": named}
    scope["client"] = ("127.0.0.1", 1)
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    await Headers(cache, Settings())(scope, receive, send)
    found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], found, b"".join(message.get("body", b"") for message in sent[1:])


def cached(gradio: Any, rate: Rate = PLENTY) -> PageCache:
    settings = Settings()
    return PageCache(gradio, Allowance(settings, Access(settings), Rates(rate, rate)))


def test_the_second_visitor_costs_no_rendering() -> None:
    gradio = Gradio()
    cache = cached(gradio)
    first, second = get(cache, host="a", cookie="x=1"), get(cache, host="a", cookie="x=2", user_agent="other")
    assert first[2] == second[2]
    assert first[0] == 200 and first[2] == PAGE.encode()
    assert len(gradio.asked) == 1


def test_nothing_of_one_visitor_is_rendered_for_another() -> None:
    gradio = Gradio()
    get(cached(gradio), query=b"deep_link=secret", host="a", cookie="x=1", authorization="b")
    assert gradio.asked[0]["query_string"] == b""
    assert gradio.asked[0]["headers"] == [(b"host", b"a")]
    assert "set-cookie" not in str(cached(gradio)._entries)


def test_each_origin_has_a_page_of_its_own() -> None:
    gradio = Gradio()
    cache = cached(gradio)
    encrypted = {"host": "a", "x_forwarded_proto": "https"}
    made_up = {"host": "a", "x_forwarded_proto": "no such"}
    for headers in ({"host": "a"}, {"host": "b"}, encrypted, {"host": "a"}, made_up):
        get(cache, **headers)
    assert len(gradio.asked) == 3


def test_neither_a_slash_nor_head_is_a_way_around() -> None:
    gradio = Gradio()
    cache = cached(gradio)
    for path, method in (("/config", "GET"), ("/config/", "GET"), ("/config", "HEAD"), ("/config/", "HEAD")):
        assert get(cache, path, method=method, host="a")[0] == 200
    assert [(scope["path"], scope["method"]) for scope in gradio.asked] == [("/config", "GET")]


def test_of_many_who_wait_for_the_first_rendering_one_pays() -> None:
    gradio = Gradio()
    cache = cached(gradio, Rate(RENDER_COST, 0.001))

    async def crowd() -> list[int]:
        return [answer[0] for answer in await asyncio.gather(*(got(cache, host="a") for _ in range(30)))]

    assert asyncio.run(crowd()) == [200] * 30
    assert len(gradio.asked) == 1


def test_it_is_sent_compressed_to_whoever_can_unpack_it() -> None:
    _, headers, body = get(cached(Gradio()), host="a", accept_encoding="br, gzip")
    assert headers["content-encoding"] == "gzip" and int(headers["content-length"]) == len(body)
    assert gzip.decompress(body) == PAGE.encode()


def test_only_inline_scripts_of_the_page_may_run() -> None:
    _, headers, _ = get(cached(Gradio()), host="a")
    assert allowed(headers["content-security-policy"]) == {digest("one()"), digest("two(\n)")}
    assert "unsafe-inline" not in headers["content-security-policy"].partition("style-src")[0]


def test_a_failed_rendering_is_not_cached() -> None:
    gradio = Gradio(status=503)
    cache = cached(gradio)
    assert [get(cache, host="a")[0] for _ in range(2)] == [503, 503]
    assert len(gradio.asked) == 2


def test_who_asks_with_ever_new_hosts_is_refused_and_the_others_are_not() -> None:
    gradio = Gradio()
    cache = cached(gradio, Rate(2 * RENDER_COST, 0.001))
    statuses = [get(cache, host=f"10.0.0.{number}")[0] for number in range(5)]
    assert statuses == [200, 200, 429, 429, 429]
    assert get(cache, host="10.0.0.0")[0] == 200


def test_it_holds_no_more_than_its_maximum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_cache, "MAX_RENDERINGS", 10**6)
    cache = cached(Gradio())
    for number in range(MAX_ENTRIES + 5):
        get(cache, host=f"10.0.0.{number}")
        get(cache, host="10.0.0.0")  # what is asked for stays
    assert len(cache._entries) == MAX_ENTRIES
    assert ("/", "10.0.0.0", "", False) in cache._entries


def test_all_together_have_only_so_many_hosts_rendered() -> None:
    gradio = Gradio()
    cache = cached(gradio)
    statuses = [get(cache, host=f"10.0.0.{number}")[0] for number in range(MAX_RENDERINGS + 5)]
    assert statuses == [200] * MAX_RENDERINGS + [429] * 5
    assert get(cache, host="10.0.0.0")[0] == 200


def test_other_paths_go_through_as_they_are() -> None:
    async def echo(scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse(scope["query_string"].decode())(scope, receive, send)

    assert get(cached(echo), "/gradio_api/queue/data", query=b"session_hash=a")[2] == b"session_hash=a"


@pytest.mark.slow
def test_all_inline_scripts_of_the_real_page_are_allowed(page: Page) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=60)
    connection.request("GET", "/")
    found = connection.getresponse()
    text = found.read().decode()
    scripts = inline_scripts(text)
    assert len(scripts) >= 4
    assert allowed(found.headers["content-security-policy"]) == {digest(script) for script in scripts}
