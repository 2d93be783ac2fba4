"""A Hub on loopback, enough for the real huggingface_hub client: create, upload, info, commits, download; of model and of dataset repos.

It keeps what it is sent in memory and misbehaves on request. The client reads its settings when it is imported, so it
runs in a process of its own with `hub.environment(folder)`.
"""

from __future__ import annotations

import json
import re
import threading
from dataclasses import dataclass
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
    """What happens to requests whose `METHOD path` matches."""

    pattern: str
    times: int
    status: int | None
    """None: no answer at all until the Hub is stopped."""
    body: str
    after: bool
    """The request is carried out first, and only its answer is lost."""


class LoopbackHub:
    """`with LoopbackHub() as hub: ...`; `hub.commits(repo)` is what `main` holds, oldest first."""

    def __init__(self, *, token: str = TOKEN) -> None:
        """`token`: the only one that may write."""
        hub = self

        class Handler(_Handler):
            def answer(self) -> Reply | None:
                return hub._answer(self)

        self.requests: list[str] = []
        """`METHOD path` of every request, in the order they came."""
        self._faults: list[Fault] = []
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.repos = Repos(url=self.url, token=token)

    def __enter__(self) -> LoopbackHub:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> LoopbackHub:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def stop(self) -> None:
        """What hangs is let go without an answer; from now on nobody listens."""
        self._stopping.set()
        self._server.shutdown()
        self._server.server_close()

    def environment(self, folder: Path, token: str | None = TOKEN) -> dict[str, str]:
        """What a process needs to take this for the Hub; its caches go below `folder`."""
        named = {"HF_ENDPOINT": self.url, "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(folder / "hf")}
        return {**named, "HF_HUB_DISABLE_TELEMETRY": "1", **({"HF_TOKEN": token} if token else {})}

    # ---- what it holds ----

    def commits(self, repo: str) -> list[Commit]:
        """Every commit on `main`, the repo's own first one included, oldest first."""
        with self._lock:
            return self.repos.commits(repo)

    def titles(self, repo: str) -> list[str]:
        """Titles of the commits that were pushed, oldest first."""
        return [commit.title for commit in self.commits(repo)[1:]]

    def edit(self, repo: str, path: str, text: str) -> None:
        """A person's own commit, made in the browser."""
        with self._lock:
            self.repos.append(repo, f"Update {path}", "", {path: File(text.encode(), is_lfs=False)})

    # ---- how it misbehaves ----

    def refuse(self, status: int, *, on: str = "", times: int = FOR_EVER, body: str = '{"error": "no"}') -> None:
        """Answer matching requests with `status`; `{authorization}` in `body` becomes the request's own header."""
        self._add(Fault(on, times, status, body, after=False))

    def hang(self, *, on: str = "", times: int = FOR_EVER, after: bool = False) -> None:
        """Give matching requests no answer; with `after`, do what they ask for first."""
        self._add(Fault(on, times, None, "", after))

    def _add(self, fault: Fault) -> None:
        with self._lock:
            self._faults.append(fault)

    def _fault(self, request: str) -> Fault | None:
        with self._lock:
            for fault in self._faults:
                if fault.times > 0 and re.search(fault.pattern, request):
                    fault.times -= 1
                    return fault
        return None

    # ---- requests ----

    def _answer(self, handler: _Handler) -> Reply | None:
        """None closes the connection without a word."""
        url = urlparse(handler.path)
        request = f"{handler.command} {unquote(url.path)}"
        authorization = handler.headers.get("Authorization", "")
        body = handler.read_body()
        fault = self._fault(request)
        with self._lock:
            self.requests.append(request)
        if fault is None or fault.after:
            with self._lock:
                reply = self.repos.answer(request, body, parse_qs(url.query), authorization)
            if fault is None:
                return reply
        if fault.status is None:
            self._stopping.wait()
            return None
        return Reply(fault.status, content=fault.body.replace("{authorization}", authorization).encode())


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self) -> Reply | None:
        raise NotImplementedError

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are in `LoopbackHub.requests`; standard error stays clean."""

    def read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().strip(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

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

    do_GET = do_POST = do_PUT = do_HEAD = handle_request
