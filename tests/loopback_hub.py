"""A fake Hub on loopback for the real huggingface_hub client: create, upload, info, commits, download.

It serves model and dataset repos, keeps uploads in memory and simulates faults on request. The client reads its
settings at import, so it must run in a process of its own with `hub.environment(folder)`.
"""

from __future__ import annotations

import json
import re
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, unquote, urlparse

from tests.loopback_repos import Commit, File, Reply, Repos

TOKEN = "hf_loopbackloopbackloopbackloopback"
FOR_EVER = 10**9


@dataclass
class Fault:
    """A fault of the requests whose `METHOD path` matches `pattern`."""

    pattern: str
    times: int
    status: int | None
    """None: no response at all until the Hub is stopped."""
    body: str
    after: bool = False
    """Whether the request is processed first, so that only its response is lost."""
    headers: dict[str, str] = field(default_factory=dict)
    drips: bool = False
    """Whether the response comes at one byte a second, for ever."""
    cut: float | None = None
    """The fraction of the request's body after which the connection is reset."""
    event: Callable[[], None] | None = None
    """What happens on the Hub just before the request, which is then processed as any other."""


class LoopbackHub:
    """`with LoopbackHub() as hub: ...`; `hub.commits(repo)` lists the commits on `main`, oldest first."""

    def __init__(self, *, token: str = TOKEN) -> None:
        """`token`: the only token that permits writing."""
        hub = self

        class Handler(_Handler):
            def answer(self) -> Reply | None:
                return hub._answer(self)

        self.requests: list[str] = []
        """`METHOD path` of every request, in order of arrival."""
        self.arrivals: list[float] = []
        """When each of them arrived, in monotonic seconds."""
        self.num_faults = 0
        """Requests that met a fault; whoever counts them sets it to 0."""
        self._faults: list[Fault] = []
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        self._handler = Handler
        self._server = self._listen(0)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.repos = Repos(url=self.url, token=token)

    def __enter__(self) -> LoopbackHub:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> LoopbackHub:
        """Answer requests; after `stop` on the same port, with the same content."""
        if self._stopping.is_set():
            self._stopping = threading.Event()
            self._server = self._listen(self.port)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def stop(self) -> None:
        """Close hanging requests without a response, and stop listening: new connections are refused."""
        self._stopping.set()
        self._server.shutdown()
        self._server.server_close()

    def _listen(self, port: int) -> ThreadingHTTPServer:
        server = ThreadingHTTPServer(("127.0.0.1", port), self._handler)
        server.daemon_threads = True
        return server

    def environment(self, folder: Path, token: str | None = TOKEN) -> dict[str, str]:
        """Variables for a process to use this as the Hub, with its caches in `folder`."""
        named = {"HF_ENDPOINT": self.url, "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(folder / "hf")}
        named["HF_TOKEN_PATH"] = str(folder / "token")  # not that of who runs the tests
        return {**named, "HF_HUB_DISABLE_TELEMETRY": "1", **({"HF_TOKEN": token} if token else {})}

    # ---- content ----

    def commits(self, repo: str) -> list[Commit]:
        """Every commit on `main`, including the repo's initial one, oldest first."""
        with self._lock:
            return self.repos.commits(repo)

    def titles(self, repo: str) -> list[str]:
        """Titles of the pushed commits, oldest first."""
        return [commit.title for commit in self.commits(repo)[1:]]

    def edit(self, repo: str, path: str, text: str) -> None:
        """Simulate a commit that a person makes on the Hub's website."""
        with self._lock:
            self.repos.append(repo, f"Update {path}", "", {path: File(text.encode(), is_lfs=False)})

    def commit(self, repo: str, title: str, files: dict[str, str], message: str = "") -> None:
        """Simulate another writer's commit with any title and message."""
        with self._lock:
            self.repos.append(
                repo, title, message, {path: File(text.encode(), is_lfs=False) for path, text in files.items()}
            )

    def delete(self, repo: str) -> None:
        """Simulate that a person deletes the repo on the Hub's website."""
        with self._lock:
            self.repos.delete(repo)

    # ---- faults ----

    def refuse(
        self,
        status: int,
        *,
        on: str = "",
        times: int = FOR_EVER,
        body: str = '{"error": "no"}',
        headers: dict[str, str] | None = None,
    ) -> None:
        """Answer matching requests with `status`; `{authorization}` in `body` is replaced by the request's header."""
        self._add(Fault(on, times, status, body, headers=headers or {}))

    def hang(self, *, on: str = "", times: int = FOR_EVER, after: bool = False) -> None:
        """Send no response to matching requests; with `after`, process them first."""
        self._add(Fault(on, times, None, "", after))

    def drip(self, *, on: str = "", times: int = FOR_EVER) -> None:
        """Answer matching requests with one byte a second, without an end."""
        self._add(Fault(on, times, None, "", drips=True))

    def cut(self, share: float, *, on: str = "", times: int = FOR_EVER) -> None:
        """Reset the connection of matching requests after this fraction of their body."""
        self._add(Fault(on, times, None, "", cut=share))

    def happens(self, event: Callable[[], None], *, on: str) -> None:
        """Call `event` just before the first matching request is processed."""
        self._add(Fault(on, 1, None, "", event=event))

    def heal(self) -> None:
        """End all faults for requests to come."""
        with self._lock:
            self._faults.clear()

    def _add(self, fault: Fault) -> None:
        with self._lock:
            self._faults.append(fault)

    def _fault(self, request: str) -> Fault | None:
        with self._lock:
            for fault in self._faults:
                if fault.times > 0 and re.search(fault.pattern, request):
                    fault.times -= 1
                    self.num_faults += 1
                    return fault
        return None

    # ---- requests ----

    def _answer(self, handler: _Handler) -> Reply | None:
        """The response; None closes the connection without one."""
        stopping = self._stopping
        if stopping.is_set():  # the request came over a connection from before the stop
            return None
        url = urlparse(handler.path)
        request = f"{handler.command} {unquote(url.path)}"
        authorization = handler.headers.get("Authorization", "")
        fault = self._fault(request)
        with self._lock:
            self.requests.append(request)
            self.arrivals.append(time.monotonic())
        if fault is not None and fault.cut is not None:
            handler.reset_after(fault.cut)
            return None
        body = handler.read_body()
        if fault is not None and fault.event is not None:
            fault.event()
            fault = None
        if fault is None or fault.after:
            with self._lock:
                reply = self.repos.answer(request, body, parse_qs(url.query), authorization)
            if fault is None:
                return reply
        if fault.status is None:
            while not stopping.wait(1.0 if fault.drips else None):
                handler.wfile.write(b"H")
            return None
        content = fault.body.replace("{authorization}", authorization).encode()
        return Reply(fault.status, content=content, headers=fault.headers)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self) -> Reply | None:
        raise NotImplementedError

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing to standard error: requests are in `LoopbackHub.requests`."""

    def read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().strip(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def reset_after(self, share: float) -> None:
        """Read this fraction of the body, then reset the connection."""
        self.rfile.read(int(share * int(self.headers.get("Content-Length") or 0)))
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def handle_request(self) -> None:
        reply = self.answer()
        if reply is None:
            self.close_connection = True
            return
        content = json.dumps(reply.value).encode() if reply.content is None else reply.content
        self.send_response(reply.status)
        for name, value in {"Content-Length": str(len(content)), **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = handle_request
