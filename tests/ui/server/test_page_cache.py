"""The page is rendered once and contains each visitor's own origin, and only its own inline scripts may run in it."""

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
from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse, PlainTextResponse

from pipeline.core.settings import Settings
from pipeline.ui.server import page_cache
from pipeline.ui.server.headers import Headers
from pipeline.ui.server.page_cache import MADE_UP_HOST, MAX_ENTRIES, PageCache
from tests.page import Page

PAGE = "<html><script>one('ORIGIN')</script><script type='module' src='/a.js'></script><script async>two(\n)</script></html>"


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
    """The inline scripts as an HTML parser finds them."""
    parser = _Scripts()
    parser.feed(page)
    return parser.found


class Gradio:
    """Counts its renderings and includes the origin of the request, as Gradio does."""

    def __init__(self, status: int = 200) -> None:
        self.asked: list[dict[str, Any]] = []
        self._status = status

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked.append(scope)
        await asyncio.sleep(0.01)
        origin = f"{scope['scheme']}://{HTTPConnection(scope).headers['host']}"
        await HTMLResponse(PAGE.replace("ORIGIN", origin), self._status)(scope, receive, send)


def get(
    cache: PageCache, path: str = "/", query: bytes = b"", method: str = "GET", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    return asyncio.run(get_async(cache, path, query, method, **headers))


async def get_async(
    cache: PageCache, path: str = "/", query: bytes = b"", method: str = "GET", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body as the page sends them, behind Headers."""
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


def cached(gradio: Any) -> PageCache:
    return PageCache(gradio, Settings())


def page_of(origin: str) -> bytes:
    return PAGE.replace("ORIGIN", origin).encode()


def test_the_second_visitor_costs_no_rendering() -> None:
    gradio = Gradio()
    cache = cached(gradio)
    first, second = get(cache, host="a", cookie="x=1"), get(cache, host="a", cookie="x=2", user_agent="other")
    assert first[2] == second[2]
    assert first[0] == 200 and first[2] == page_of("http://a")
    assert len(gradio.asked) == 1


def test_nothing_of_one_visitor_is_rendered_for_another() -> None:
    gradio = Gradio()
    cache = cached(gradio)
    get(cache, query=b"deep_link=secret", host="first.example", cookie="x=1", authorization="b")
    assert gradio.asked[0]["query_string"] == b""
    assert gradio.asked[0]["headers"] == [(b"host", MADE_UP_HOST)]
    assert b"first.example" not in get(cache, host="second.example")[2]


def test_each_visitor_gets_their_own_origin_from_one_rendering() -> None:
    gradio = Gradio()
    cache = cached(gradio)
    assert get(cache, host="a:1")[2] == page_of("http://a:1")
    assert get(cache, host="a", x_forwarded_proto="https")[2] == page_of("https://a")
    assert get(cache, host="[::1]:7860", x_forwarded_proto="javascript")[2] == page_of("http://[::1]:7860")
    assert len(gradio.asked) == 1


@pytest.mark.parametrize("host", ["", 'a"', "a<b", "a b", "a'", "a&b", "a\\", "a/b", "é", "a" * 256, "{a}", "$(a)"])
def test_a_host_that_would_need_escaping_is_refused(host: str) -> None:
    gradio = Gradio()
    status, _, body = get(cached(gradio), host=host)
    assert (status, gradio.asked) == (421, [])
    assert b"<script>" not in body


def test_a_trailing_slash_and_head_use_the_same_rendering() -> None:
    gradio = Gradio()
    cache = cached(gradio)
    for path, method in (("/config", "GET"), ("/config/", "GET"), ("/config", "HEAD"), ("/config/", "HEAD")):
        assert get(cache, path, method=method, host="a")[0] == 200
    assert [(scope["path"], scope["method"]) for scope in gradio.asked] == [("/config", "GET")]


def test_concurrent_requests_wait_for_one_rendering() -> None:
    gradio = Gradio()
    cache = cached(gradio)

    async def crowd() -> list[int]:
        return [answer[0] for answer in await asyncio.gather(*(get_async(cache, host="a") for _ in range(30)))]

    assert asyncio.run(crowd()) == [200] * 30
    assert len(gradio.asked) == 1


def test_it_is_compressed_for_clients_that_accept_gzip() -> None:
    _, headers, body = get(cached(Gradio()), host="a", accept_encoding="br, gzip")
    assert headers["content-encoding"] == "gzip" and int(headers["content-length"]) == len(body)
    assert gzip.decompress(body) == page_of("http://a")


def test_only_inline_scripts_of_the_page_may_run() -> None:
    _, headers, _ = get(cached(Gradio()), host="a")
    assert allowed(headers["content-security-policy"]) == {digest("one('http://a')"), digest("two(\n)")}
    assert "unsafe-inline" not in headers["content-security-policy"].partition("style-src")[0]


def test_a_failed_rendering_is_not_cached() -> None:
    gradio = Gradio(status=503)
    cache = cached(gradio)
    assert [get(cache, host="a")[0] for _ in range(2)] == [503, 503]
    assert len(gradio.asked) == 2


def test_the_cache_is_bounded() -> None:
    cache = cached(Gradio())
    for number in range(MAX_ENTRIES + 5):
        get(cache, host=f"10.0.0.{number}")
        get(cache, host="10.0.0.0")  # an entry in use is kept
    assert len(cache._entries) == MAX_ENTRIES
    assert ("/", "http://10.0.0.0", "", False) in cache._entries


def test_the_page_of_a_link_is_made_once_and_compressed_only_for_who_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    compressed: list[bytes] = []
    real = gzip.compress

    def counted(body: bytes, *args: Any, **options: Any) -> bytes:
        compressed.append(body)
        return real(body, *args, **options)

    monkeypatch.setattr(page_cache.gzip, "compress", counted)

    async def with_head(scope: Any, receive: Any, send: Any) -> None:
        await HTMLResponse('<head><meta property="og:title" content="old"></head>')(scope, receive, send)

    def head(query: Any, origin: str) -> str:
        return f'<meta property="og:url" content="{origin}?{query.get("example")}"><script>x</script>'

    cache = PageCache(with_head, Settings(), head)
    plain = [get(cache, query=b"example=one", host="a") for _ in range(3)]
    assert compressed == [] and plain[0][2] == plain[1][2] == plain[2][2]
    assert b'content="http://a?one">' in plain[0][2] and b"old" not in plain[0][2]
    assert digest("x") not in plain[0][1]["content-security-policy"], "no script of the tags may run"
    packed = [get(cache, query=b"example=one", host="a", accept_encoding="gzip")[2] for _ in range(3)]
    assert compressed == [plain[0][2]] and {gzip.decompress(body) for body in packed} == {plain[0][2]}
    other = get(cache, query=b"example=two", host="a", accept_encoding="gzip")
    assert b"http://a?two" in gzip.decompress(other[2]) and len(compressed) == 2
    for number in range(MAX_ENTRIES + 5):
        get(cache, query=f"example={number}".encode(), host="a")
    assert len(cache._entries) == MAX_ENTRIES


def test_other_paths_pass_unchanged() -> None:
    async def echo(scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse(scope["query_string"].decode())(scope, receive, send)

    assert get(cached(echo), "/gradio_api/queue/data", query=b"session_hash=a")[2] == b"session_hash=a"


def read(page: Page, path: str, host: str = "") -> tuple[http.client.HTTPResponse, str]:
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=60)
    connection.request("GET", path, headers={"host": host} if host else {})
    found = connection.getresponse()
    return found, found.read().decode()


@pytest.mark.slow
def test_all_inline_scripts_of_the_real_page_are_allowed(page: Page) -> None:
    found, text = read(page, "/")
    scripts = inline_scripts(text)
    assert len(scripts) >= 4
    assert allowed(found.headers["content-security-policy"]) == {digest(script) for script in scripts}


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/", "/config", "/gradio_api/info"])
def test_the_real_page_contains_only_the_visitors_own_origin(page: Page, path: str) -> None:
    """Gradio's API description has the first visitor's origin for all: they would send the key to a stranger."""
    _, other = read(page, path, "127.0.0.1:1")
    _, own = read(page, path)
    assert "http://127.0.0.1:1/" in other or 'http://127.0.0.1:1"' in other, "control"
    assert f"http://127.0.0.1:{page.port}" in own
    assert "127.0.0.1:1/" not in own and '127.0.0.1:1"' not in own and MADE_UP_HOST.decode() not in own
