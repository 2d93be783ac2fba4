"""A Hub on loopback that serves datasets and tokenizers to the real client: listings and downloads only.

`with DatasetHub(...) as hub:` serves from a thread. A client runs in a process of its own, with HF_ENDPOINT set.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlparse

COMMIT = "c0ffee" + 34 * "0"


class DatasetHub(ThreadingHTTPServer):
    """`repos` maps owner/name to {path: bytes}; `tokens` collects every Authorization header received.

    Requests whose path matches `silent` get no response; files come after `delay` seconds. `cuts` maps a file's path to the numbers of bytes after which
    the connection is closed, one number per request. `walls` maps it to the offset beyond which no request gets.
    `fetched` collects the path of each requested file and the first byte. `private` repos exist only for requests with
    a token.
    """

    daemon_threads = True

    def __init__(self, repos: dict[str, dict[str, bytes]]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repos = repos
        self.tokens: list[str] = []
        self.silent = ""
        self.delay = 0.0
        self.private: set[str] = set()
        self.requests: list[str] = []
        self.cuts: dict[str, list[int]] = {}
        self.walls: dict[str, int] = {}
        self.fetched: list[tuple[str, int]] = []
        self._closing = threading.Event()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def __enter__(self) -> DatasetHub:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def keep_silent(self) -> None:
        """Wait until the server is closed."""
        self._closing.wait()

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: DatasetHub

    def log_message(self, *_: object) -> None:
        """Log nothing: tests read `requests` instead."""

    def do_GET(self) -> None:
        path = unquote(urlparse(self.path).path)
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length and "json" in self.headers["Content-Type"] else {}
        self.server.requests.append(f"{self.command} {path}")
        if "Authorization" in self.headers:
            self.server.tokens.append(self.headers["Authorization"])
        if self.server.silent and re.search(self.server.silent, path):
            self.close_connection = True
            return self.server.keep_silent()
        for pattern, answer in (
            (r"/api/datasets/(?P<repo>[^/]+/[^/]+?)(?:/revision/(?P<revision>[^/]+))?", self._info),
            (r"/api/datasets/(?P<repo>[^/]+/[^/]+)/tree/(?P<revision>[^/]+)(?:/(?P<folder>.*))?", self._tree),
            (r"/api/datasets/(?P<repo>[^/]+/[^/]+)/paths-info/(?P<revision>[^/]+)", self._paths_info),
            (r"(?:/datasets)?/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)", self._file),
        ):
            if match := re.fullmatch(pattern, path):
                facts = match.groupdict()
                is_hidden = facts["repo"] in self.server.private and "Authorization" not in self.headers
                if is_hidden or facts["repo"] not in self.server.repos:
                    return self._refuse("RepoNotFound")
                if facts.get("revision") not in (None, "main", COMMIT):
                    return self._refuse("RevisionNotFound")
                return answer(self.server.repos[facts["repo"]], facts, body)
        return self._refuse("EntryNotFound")

    do_HEAD = do_POST = do_GET

    def _info(self, files: dict[str, bytes], facts: dict[str, Any], body: dict[str, Any]) -> None:
        self._answer({"id": facts["repo"], "sha": COMMIT, "siblings": [{"rfilename": name} for name in files]})

    def _tree(self, files: dict[str, bytes], facts: dict[str, Any], body: dict[str, Any]) -> None:
        folder = f"{facts['folder']}/" if facts["folder"] else ""
        names = [name.removeprefix(folder) for name in files if name.startswith(folder)]
        if folder and not names:
            return self._refuse("EntryNotFound")
        if "recursive=true" in urlparse(self.path).query.lower():
            below = sorted({parent.as_posix() for name in names for parent in PurePosixPath(name).parents} - {"."})
        else:
            below = sorted({name.split("/")[0] for name in names if "/" in name})
            names = [name for name in names if "/" not in name]
        return self._answer(
            [_entry(folder + name, files[folder + name]) for name in names]
            + [{"type": "directory", "oid": hashlib.sha1(n.encode()).hexdigest(), "path": folder + n} for n in below]
        )

    def _paths_info(self, files: dict[str, bytes], facts: dict[str, Any], body: dict[str, Any]) -> None:
        self._answer([_entry(name, files[name]) for name in body["paths"] if name in files])

    def _file(self, files: dict[str, bytes], facts: dict[str, Any], body: dict[str, Any]) -> None:
        data = files.get(facts["path"])
        if data is None:
            return self._refuse("EntryNotFound")
        headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{hashlib.sha1(data).hexdigest()}"', "Accept-Ranges": "bytes"}
        if match := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            first, last = int(match[1]), min(int(match[2] or len(data) - 1), len(data) - 1)
            if first >= len(data):
                return self._send(416, b"", {"Content-Range": f"bytes */{len(data)}"})
            headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
            return self._send(206, data[first : last + 1], headers, self._num_sent(facts["path"], first))
        return self._send(200, data, headers, self._num_sent(facts["path"], 0))

    def _num_sent(self, path: str, first: int) -> int | None:
        """How many bytes of this response are sent before the connection is closed; None for all."""
        if self.command == "HEAD":
            return None
        self.server.fetched.append((path, first))
        time.sleep(self.server.delay)
        cuts, wall = self.server.cuts.get(path), self.server.walls.get(path)
        return cuts.pop(0) if cuts else None if wall is None else max(0, wall - first)

    def _refuse(self, code: str) -> None:
        self._send(404, b'{"error": "not found"}', {"X-Error-Code": code, "X-Repo-Commit": COMMIT})

    def _answer(self, value: Any) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, body: bytes, headers: dict[str, str], num_sent: int | None = None) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:num_sent])
            self.close_connection = self.close_connection or (num_sent is not None and num_sent < len(body))


def _entry(path: str, data: bytes) -> dict[str, Any]:
    return {"type": "file", "oid": hashlib.sha1(data).hexdigest(), "size": len(data), "path": path}
