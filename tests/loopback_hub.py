"""A Hub on loopback, enough for the real huggingface_hub client: create, upload, info, commits, download.

It keeps what it is sent in memory and misbehaves on request. The client reads its settings when it is imported, so it
runs in a process of its own with `hub.environment(folder)`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, unquote, urlparse

TOKEN = "hf_loopbackloopbackloopbackloopback"
FOR_EVER = 10**9
REPO = r"(?P<repo>[^/]+/[^/]+)"


@dataclass(frozen=True)
class File:
    content: bytes
    is_lfs: bool

    @property
    def oid(self) -> str:
        if self.is_lfs:
            return hashlib.sha256(self.content).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(self.content) + self.content).hexdigest()


@dataclass(frozen=True)
class Commit:
    oid: str
    title: str
    message: str
    date: str
    files: dict[str, File]


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


@dataclass
class Reply:
    status: int
    value: Any = None
    """Sent as JSON, unless there is `content`."""
    headers: dict[str, str] = field(default_factory=dict)
    content: bytes | None = None


class LoopbackHub:
    """`with LoopbackHub() as hub: ...`; `hub.commits(repo)` is what `main` holds, oldest first."""

    def __init__(self, *, token: str = TOKEN, page_size: int = 50) -> None:
        self.token = token
        """The only one that may write."""
        self.page_size = page_size
        self.requests: list[str] = []
        """`METHOD path` of every request, in the order they came."""
        self._repos: dict[str, list[Commit]] = {}
        self._lfs: dict[str, bytes] = {}
        self._faults: list[Fault] = []
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        self._server: ThreadingHTTPServer | None = None

    def __enter__(self) -> LoopbackHub:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> LoopbackHub:
        hub = self

        class Handler(_Handler):
            def answer(self) -> Reply | None:
                return hub._answer(self)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def stop(self) -> None:
        assert self._server is not None
        self._stopping.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def environment(self, folder: Path, token: str | None = TOKEN) -> dict[str, str]:
        """What a process needs to take this for the Hub; its caches go below `folder`."""
        named = {"HF_ENDPOINT": self.url, "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(folder / "hf")}
        return {**named, "HF_HUB_DISABLE_TELEMETRY": "1", **({"HF_TOKEN": token} if token else {})}

    # ---- what it holds ----

    def commits(self, repo: str) -> list[Commit]:
        """Every commit on `main`, the repo's own first one included, oldest first."""
        with self._lock:
            return list(self._repos.get(repo, []))

    def titles(self, repo: str) -> list[str]:
        """Titles of the commits that were pushed, oldest first."""
        return [commit.title for commit in self.commits(repo)[1:]]

    def edit(self, repo: str, path: str, text: str) -> None:
        """A person's own commit, made in the browser."""
        with self._lock:
            self._append(repo, f"Update {path}", "", {path: File(text.encode(), is_lfs=False)})

    # ---- how it misbehaves ----

    def refuse(self, status: int, *, on: str = "", times: int = FOR_EVER, body: str = '{"error": "no"}') -> None:
        """Answer matching requests with `status`; `{authorization}` in `body` becomes the request's own header."""
        self._add(Fault(on, times, status, body, after=False))

    def hang(self, *, on: str = "", times: int = FOR_EVER, after: bool = False) -> None:
        """Give matching requests no answer; with `after`, do what they ask for first."""
        self._add(Fault(on, times, None, "", after))

    def heal(self) -> None:
        """Answer everything again. What hangs goes on hanging."""
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
                    return fault
        return None

    # ---- requests ----

    def _answer(self, handler: _Handler) -> Reply | None:
        """None closes the connection without a word."""
        url = urlparse(handler.path)
        request = f"{handler.command} {unquote(url.path)}"
        body = handler.read_body()
        fault = self._fault(request)
        with self._lock:
            self.requests.append(request)
        if fault is None or fault.after:
            reply = self._route(request, body, parse_qs(url.query), handler.headers.get("Authorization", ""))
            if fault is None:
                return reply
        if fault.status is None:
            self._stopping.wait()
            return None
        told = fault.body.replace("{authorization}", handler.headers.get("Authorization", ""))
        return Reply(fault.status, content=told.encode())

    def _route(self, request: str, body: bytes, query: dict[str, list[str]], authorization: str) -> Reply:
        routes = (
            (r"POST /api/repos/create", self._create),
            (r"POST /api/validate-yaml", lambda **_: Reply(200, {"errors": [], "warnings": []})),
            (rf"POST /api/models/{REPO}/preupload/main", self._preupload),
            (rf"POST /{REPO}\.git/info/lfs/objects/batch", self._lfs_batch),
            (r"PUT /_lfs/(?P<oid>\w+)", self._lfs_upload),
            (rf"POST /api/models/{REPO}/commit/main", self._commit),
            (rf"GET /api/models/{REPO}(?:/revision/(?P<revision>.+))?", self._info),
            (rf"GET /api/models/{REPO}/tree/(?P<revision>[^/]+)", self._tree),
            (rf"GET /api/models/{REPO}/commits/main", self._list_commits),
            (rf"(?:GET|HEAD) /{REPO}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", self._resolve),
        )
        for pattern, route in routes:
            if found := re.fullmatch(pattern, request):
                # The address of an upload is the permission to use it, as with the real Hub's storage.
                if request.startswith("POST") and authorization != f"Bearer {self.token}":
                    return Reply(401, {"error": "Invalid username or password."})
                with self._lock:
                    return route(**found.groupdict(), body=body, query=query)
        return Reply(404, {"error": f"the loopback Hub does not know {request}"})

    def _create(self, body: bytes, **_: Any) -> Reply:
        asked = json.loads(body)
        repo = f"{asked.get('organization') or 'me'}/{asked['name']}"
        if repo in self._repos:
            return Reply(409, {"error": "You already created this model repo", "url": f"{self.url}/{repo}"})
        self._append(repo, "initial commit", "", {".gitattributes": File(b"*.safetensors lfs\n", is_lfs=False)})
        return Reply(200, {"url": f"{self.url}/{repo}"})

    def _preupload(self, repo: str, body: bytes, **_: Any) -> Reply:
        if repo not in self._repos:
            return _no_repo()
        there = self._repos[repo][-1].files
        answers = []
        for asked in json.loads(body)["files"]:
            mode = "lfs" if asked["path"].endswith(".safetensors") else "regular"
            oid = there[asked["path"]].oid if asked["path"] in there else None
            answers.append({"path": asked["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        return Reply(200, {"files": answers})

    def _lfs_batch(self, repo: str, body: bytes, **_: Any) -> Reply:
        objects = []
        for asked in json.loads(body)["objects"]:
            upload = {"upload": {"href": f"{self.url}/_lfs/{asked['oid']}", "header": {}}}
            known = asked["oid"] in self._lfs  # then there is nothing to do, and `actions` is left out
            objects.append({"oid": asked["oid"], "size": asked["size"], **({} if known else {"actions": upload})})
        return Reply(200, {"transfer": "basic", "objects": objects})

    def _lfs_upload(self, oid: str, body: bytes, **_: Any) -> Reply:
        if hashlib.sha256(body).hexdigest() != oid:
            return Reply(400, {"error": "the content is not what its name says"})
        self._lfs[oid] = body
        return Reply(200, {})

    def _commit(self, repo: str, body: bytes, **_: Any) -> Reply:
        if repo not in self._repos:
            return _no_repo()
        header, changed = {}, {}
        for line in body.splitlines():
            part = json.loads(line)
            value = part["value"]
            if part["key"] == "header":
                header = value
            elif part["key"] == "lfsFile":
                changed[value["path"]] = File(self._lfs[value["oid"]], is_lfs=True)
            else:
                changed[value["path"]] = File(base64.b64decode(value["content"]), is_lfs=False)
        if header.get("parentCommit") not in (None, self._repos[repo][-1].oid):
            return Reply(412, {"error": "A commit has happened since. Please refresh and try again."})
        oid = self._append(repo, header["summary"], header.get("description", ""), changed)
        return Reply(200, {"success": True, "commitOid": oid, "commitUrl": f"{self.url}/{repo}/commit/{oid}"})

    def _append(self, repo: str, title: str, message: str, changed: dict[str, File]) -> str:
        commits = self._repos.setdefault(repo, [])
        date = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=len(commits))
        oid = hashlib.sha1(f"{repo} {len(commits)} {title}".encode()).hexdigest()
        files = {**(commits[-1].files if commits else {}), **changed}
        commits.append(Commit(oid, title, message, date.strftime("%Y-%m-%dT%H:%M:%S.000Z"), files))
        return oid

    def _find(self, repo: str, revision: str | None) -> Commit | None:
        commits = self._repos.get(repo, [])
        if revision in (None, "main"):
            return commits[-1] if commits else None
        return next((commit for commit in commits if commit.oid == revision), None)

    def _info(self, repo: str, revision: str | None, **_: Any) -> Reply:
        commit = self._find(repo, revision)
        if commit is None:
            return _no_repo()
        named = {"id": repo, "modelId": repo, "sha": commit.oid, "private": False, "tags": [], "downloads": 0}
        return Reply(200, {**named, "likes": 0, "siblings": [{"rfilename": name} for name in commit.files]})

    def _tree(self, repo: str, revision: str, **_: Any) -> Reply:
        commit = self._find(repo, revision)
        if commit is None:
            return _no_repo()
        entries = []
        for path, file in commit.files.items():
            lfs = {"lfs": {"oid": file.oid, "size": len(file.content), "pointerSize": 134}} if file.is_lfs else {}
            entries.append({"type": "file", "oid": file.oid, "size": len(file.content), "path": path, **lfs})
        return Reply(200, entries)

    def _list_commits(self, repo: str, query: dict[str, list[str]], **_: Any) -> Reply:
        if repo not in self._repos:
            return _no_repo()
        page, newest_first = int(query.get("p", ["0"])[0]), self._repos[repo][::-1]
        shown = newest_first[page * self.page_size : (page + 1) * self.page_size]
        rows = [{"id": c.oid, "title": c.title, "message": c.message, "date": c.date, "authors": []} for c in shown]
        more = len(newest_first) > (page + 1) * self.page_size
        following = f'<{self.url}/api/models/{repo}/commits/main?p={page + 1}>; rel="next"'
        return Reply(200, rows, {"Link": following} if more else {})

    def _resolve(self, repo: str, revision: str, path: str, **_: Any) -> Reply:
        commit = self._find(repo, revision)
        if commit is None:
            return _no_repo()
        if path not in commit.files:
            headers = {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit.oid}
            return Reply(404, {"error": "Entry not found"}, headers)
        file = commit.files[path]
        headers = {"X-Repo-Commit": commit.oid, "ETag": f'"{file.oid}"', "Accept-Ranges": "bytes"}
        return Reply(200, None, headers, file.content)


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


def _no_repo() -> Reply:
    return Reply(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
