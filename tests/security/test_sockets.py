"""Hostile requests: other sites, other host names, large or slow bodies and headers, and bytes that are not HTTP."""

from __future__ import annotations

import json
import socket
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from pipeline.ui.server.connections import HEADER_SECONDS
from pipeline.ui.server.guards import BODY_SECONDS, MAX_BODY_BYTES
from tests.faults.shares import shares
from tests.posts import get, post
from tests.security.conftest import Figures, Weaken
from tests.security.public import PublicPage, address

pytestmark = pytest.mark.slow

JOIN = "/gradio_api/queue/join"
HEAD = "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Forwarded-For: {peer}\r\nContent-Type: application/json\r\n"
SPARE_SECONDS = 5
ANSWER_BYTES = 2_000


def head(path: str = JOIN) -> bytes:
    return HEAD.format(path=path, peer=address()).encode()


def connected(page: PublicPage) -> socket.socket:
    return socket.create_connection(("127.0.0.1", page.port), timeout=30)


def answer_to(page: PublicPage, *parts: bytes) -> bytes:
    """The beginning of the response; empty when the connection is closed, or nothing arrives."""
    with connected(page) as sock:
        sock.settimeout(3)
        try:
            for part in parts:
                sock.sendall(part)
            return sock.recv(ANSWER_BYTES)
        except OSError:
            return b""


ELSEWHERE = [
    *({"origin": origin} for origin in ("https://evil.example", "null", "http://127.0.0.1:1", "https://localhost.evil.example")),
    *({"sec_fetch_site": site} for site in ("cross-site", "same-site")),
    *({"host": host} for host in ("evil.example", "127.0.0.1.nip.io", "localhost.evil.example", "127.0.0.1@evil.example", "a" * 300)),
]  # fmt: skip


def pressed(page: PublicPage) -> Counter[int]:
    """Send posts as from another site's page, or under a host name that was rebound to this address."""
    answers = Counter[int]()
    for path in (JOIN, "/gradio_api/run/predict", "/studio/unlock", "/studio/lock", "/gradio_api/call/stop"):
        for headers in ELSEWHERE:
            answers[post(page, path, {"data": []}, x_forwarded_for=address(), **headers)[0]] += 1
    return answers


def test_other_sites_and_host_names_are_refused(public: PublicPage, figures: Figures) -> None:
    answers = pressed(public)
    figures(posts=answers.total(), statuses=dict(answers))
    assert set(answers) == {403, 421}
    assert answers[403] >= 30 and answers[421] >= 25


def test_control_without_the_checks_they_reach_the_page(weaken: Weaken) -> None:
    assert set(pressed(weaken("origins"))) - {403, 421}


def chunks(num_chunks: int) -> Iterator[bytes]:
    yield head() + b"Transfer-Encoding: chunked\r\n\r\n"
    for _ in range(num_chunks):
        yield b"10000\r\n" + b" " * 65_536 + b"\r\n"


def junk() -> list[bytes]:
    """Bytes that are not a request, or a request that no browser sends."""
    host = b"Host: 127.0.0.1\r\n"
    upgrade = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    return [
        b"GET /\r\n",
        b"GET / HTTP/0.9\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
        b"\x00" * 1_000,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"SSH-2.0-OpenSSH_9\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + host + host + b"\r\n",
        b"GET http://evil.example/ HTTP/1.1\r\n" + host + b"\r\n",
        b"CONNECT evil.example:443 HTTP/1.1\r\n" + host + b"\r\n",
        b"TRACE / HTTP/1.1\r\n" + host + b"\r\n",
        b"BREW / HTTP/1.1\r\n" + host + b"\r\n",
        b"GET /%ff%fe HTTP/1.1\r\n" + host + b"\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\n" + host + b"\r\n",
        b"GET /config?%00=%ff HTTP/1.1\r\n" + host + b"\r\n",
        b"GET / HTTP/1.1\r\n" + host + b"Cookie: \xff\xfe=\x80\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + host + b"X-Owner-Key: \xff\xfe\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + host + b"X-Forwarded-For: ,,,;;\x80, 999.9.9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + host + b"Content-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + host + b" folded: x\r\n\r\n",
        head() + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n{}",
        head() + b"Content-Length: 99999999999999999999\r\n\r\n{}",
        head() + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        head() + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        head() + b"Transfer-Encoding: gzip\r\n\r\nxx",
        head() + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b",
        head() + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n{}",
        b"GET / HTTP/1.1\r\n" + host + upgrade + b"\r\n",
        b"GET " + JOIN.encode() + b" HTTP/1.1\r\n" + host + upgrade + b"\r\n",
        b"GET / HTTP/1.1\r\n" + host + b"".join(b"X-%d: y\r\n" % number for number in range(20_000)) + b"\r\n",
        b"GET / HTTP/1.1\r\n" + host + b"X: " + b"y" * 2_000_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 2_000_000 + b" HTTP/1.1\r\n" + host + b"\r\n",
        b"GET / HTTP/1.1\r\n" + host + b"Range: bytes=" + b"0-1," * 2_000 + b"\r\n\r\n",
    ]  # fmt: skip


def test_bytes_that_are_not_a_request_are_refused(public: PublicPage, figures: Figures) -> None:
    faults, answers = public.faults(), Counter[str]()
    for data in junk():
        answer = answer_to(public, data)
        status = answer.split(b" ", 2)[1].decode("latin-1") if answer.startswith(b"HTTP/1.1 ") else "closed"
        answers[status] += 1
        assert not status.startswith("5"), (data[:100], answer)
        assert public.is_alive()
    figures(requests=answers.total(), answers=dict(answers))
    assert public.faults() == faults


def test_large_bodies_are_refused_before_they_are_read(public: PublicPage, figures: Figures) -> None:
    faults, before = public.faults(), public.megabytes()
    asked = [
        answer_to(public, head() + f"Content-Length: {length}\r\n\r\n".encode())
        for length in (MAX_BODY_BYTES + 1, 10**9, 10**18)
    ]
    asked += [answer_to(public, *chunks(num_chunks)) for num_chunks in (9, 40, 400)]
    figures(bodies=len(asked), grown_mb=round(public.megabytes() - before))
    by_length, in_chunks = asked[:3], asked[3:]
    assert all(b" 413 " in answer for answer in by_length), by_length
    # Without a length it is refused after its headers; the response may be lost while the rest is still being sent.
    assert all(b" 400 " in answer or answer == b"" for answer in in_chunks), in_chunks
    assert public.megabytes() - before < 50
    assert public.faults() == faults


def outlived(page: PublicPage, starts: list[bytes], seconds: float) -> tuple[int, float]:
    """Sends each start on a connection of its own, then one byte a second on each. Returns how many connections are
    open after `seconds`, and the seconds of the slowest response to another client meanwhile.
    """
    socks, slowest, end = [], 0.0, time.monotonic() + seconds
    for start in starts:
        sock = connected(page)
        sock.sendall(start)
        sock.setblocking(False)
        socks.append(sock)
    while time.monotonic() < end and socks:
        began = time.monotonic()
        assert get(page, "/config", x_forwarded_for=address())[0] == 200
        slowest = max(slowest, time.monotonic() - began)
        socks = [sock for sock in socks if _is_open(sock)]
        time.sleep(1)
    left = len(socks)
    for sock in socks:
        sock.close()
    return left, slowest


def _is_open(sock: socket.socket) -> bool:
    """Whether the connection is open after one more byte."""
    try:
        sock.send(b"x")
        while sock.recv(ANSWER_BYTES):
            pass
    except BlockingIOError:
        return True
    except OSError:
        pass
    sock.close()
    return False


@shares("num_connections", 30, 200, pytest.mark.security)
def test_slow_bodies_are_closed_and_delay_nobody(public: PublicPage, num_connections: int, figures: Figures) -> None:
    faults = public.faults()
    starts = [head() + b"Content-Length: 100000\r\n\r\n{" for _ in range(num_connections)]
    left, slowest = outlived(public, starts, BODY_SECONDS + SPARE_SECONDS)
    figures(connections=num_connections, left=left, slowest_answer_s=round(slowest, 2))
    assert left == 0
    assert slowest < 10
    assert public.faults() == faults


@shares("num_connections", 30, 200, pytest.mark.security)
def test_slow_headers_are_closed_and_delay_nobody(public: PublicPage, num_connections: int, figures: Figures) -> None:
    faults = public.faults()
    starts = [[b"", b"G", head(), head() + b"X-Slow: "][number % 4] for number in range(num_connections)]
    left, slowest = outlived(public, starts, BODY_SECONDS + SPARE_SECONDS)
    figures(connections=num_connections, left=left, slowest_answer_s=round(slowest, 2))
    assert left == 0
    assert slowest < 10
    assert public.faults() == faults


@pytest.mark.security
def test_control_without_a_limit_slow_bodies_stay(weaken: Weaken) -> None:
    page = weaken("body limit")
    starts = [head() + b"Content-Length: 100000\r\n\r\n{" for _ in range(5)]
    assert outlived(page, starts, BODY_SECONDS + SPARE_SECONDS)[0] == 5


@pytest.mark.security
def test_control_without_a_limit_slow_headers_stay(weaken: Weaken) -> None:
    page = weaken("header limit")
    assert outlived(page, [b"", b"G", head()], HEADER_SECONDS + SPARE_SECONDS)[0] == 3


def test_the_page_lives(public: PublicPage) -> None:
    assert json.loads(get(public, "/studio/who")[1]) == {"state": "locked"}
