"""A real server on loopback closes connections without a complete request, and keeps those it is answering."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator

import pytest
import uvicorn
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from pipeline.ui.server.connections import TimedConnection

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Timed(TimedConnection):
    header_seconds = 0.5


async def slow_answer(scope: Scope, receive: Receive, send: Send) -> None:
    await asyncio.sleep(1)
    await PlainTextResponse("answered")(scope, receive, send)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(slow_answer, http=Timed, lifespan="off", log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join(30)


def answer(sock: socket.socket) -> bytes:
    """The whole response, or what arrived before the connection was closed."""
    found = b""
    while not found.endswith(b"answered") and (part := sock.recv(1_000)):
        found += part
    return found


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=30)


@pytest.mark.parametrize("start", [b"", b"G", REQUEST[:-2], REQUEST[:-2] + b"X-Slow: "])
def test_an_incomplete_request_is_closed(port: int, start: bytes) -> None:
    with connected(port) as sock:
        sock.sendall(start)
        assert sock.recv(100) == b"", "closed"


def test_a_slow_response_is_not_closed(port: int) -> None:
    with connected(port) as sock:
        sock.sendall(REQUEST)
        assert answer(sock).endswith(b"answered")


def test_the_second_request_of_a_connection_is_timed_too(port: int) -> None:
    with connected(port) as sock:
        sock.sendall(REQUEST)
        assert answer(sock).endswith(b"answered")
        sock.sendall(REQUEST)
        assert answer(sock).endswith(b"answered")
        sock.sendall(REQUEST[:9])
        assert sock.recv(100) == b"", "closed"


def test_a_chunked_body_is_refused_and_the_rest_of_it_is_not_parsed(port: int) -> None:
    with connected(port) as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 100)
        assert sock.recv(100).startswith(b"HTTP/1.1 400")
