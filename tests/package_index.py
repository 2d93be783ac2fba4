"""A package index on loopback, in JSON and in HTML, that serves source distributions made here and simulates faults."""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import io
import itertools
import json
import re
import tarfile
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

Content = bytes | str | tarfile.TarInfo


@dataclass
class Upload:
    """A file in the index."""

    name: str
    data: bytes
    sha256: str | None = None
    """What the index says; None: the right one."""
    yanked: bool | str = False
    url: str | None = None
    """Its address; None: below /files/ of this server."""

    @property
    def announced(self) -> str:
        return hashlib.sha256(self.data).hexdigest() if self.sha256 is None else self.sha256


@dataclass
class PackageIndex:
    """`with PackageIndex({"project": [Upload(...)]}) as index: ...`"""

    projects: dict[str, list[Upload]]
    html: bool = False
    login: str | None = None
    """`user:password` that every request needs; None: none."""
    silent: str = ""
    """Requests whose path matches this pattern get no answer."""
    status: dict[str, int] = field(default_factory=dict)
    """Pattern of a path -> status of the answer."""
    redirects: dict[str, str] = field(default_factory=dict)
    """Path -> where it has moved to."""
    requests: list[str] = field(default_factory=list)
    authorizations: list[str] = field(default_factory=list)
    """That of each request; empty for none."""

    def __enter__(self) -> PackageIndex:
        handler = type("Handler", (_Handler,), {"index": self})
        self._closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def simple(self) -> str:
        """The address of the index, with the login if it needs one."""
        login = f"//{quote(self.login, safe=':')}@" if self.login else "//"
        return f"{self.url.replace('//', login)}/simple"

    @property
    def authorization(self) -> str:
        """The header that the login becomes."""
        return f"Basic {base64.b64encode((self.login or '').encode()).decode()}"

    def environment(self) -> dict[str, str]:
        """Variables with which pip, pages and jobs use this index and no other."""
        return {"PIP_INDEX_URL": self.simple, "PIP_CONFIG_FILE": "/dev/null", "PIP_NO_INDEX": "0"}

    def answer(self, path: str, authorization: str) -> tuple[int, dict[str, str], bytes] | None:
        """Status, headers and body; None: no answer."""
        self.requests.append(path)
        self.authorizations.append(authorization)
        if self.silent and re.search(self.silent, path):
            self._closing.wait()
            return None
        if self.login and authorization != self.authorization:
            return 401, {}, b"who are you"
        if path in self.redirects:
            return 302, {"Location": self.redirects[path]}, b""
        for pattern, status in self.status.items():
            if re.search(pattern, path):
                return status, {}, b"fault"
        if match := re.fullmatch(r"/simple/([^/]+)/", path):
            return self._page(match[1])
        for upload in itertools.chain.from_iterable(self.projects.values()):
            if path == f"/files/{upload.name}":
                return 200, {"Content-Type": "application/gzip"}, upload.data
        return 404, {}, b"missing"

    def _page(self, project: str) -> tuple[int, dict[str, str], bytes]:
        if project not in self.projects:
            return 404, {}, b"missing"
        uploads = self.projects[project]
        if self.html:
            lines = [
                f'<a href="{one.url or f"../../files/{one.name}"}#sha256={one.announced}"'
                f"{' data-yanked' if one.yanked is not False else ''}>{one.name}</a>"
                for one in uploads
            ]
            return 200, {"Content-Type": "text/html"}, "\n".join(lines).encode()
        files = [
            {
                "filename": one.name,
                "url": one.url or f"{self.url}/files/{one.name}",
                "hashes": {"sha256": one.announced} if one.announced else {},
                "size": len(one.data),
                "yanked": one.yanked,
            }
            for one in uploads
        ]
        page = json.dumps({"meta": {"api-version": "1.1"}, "name": project, "files": files})
        return 200, {"Content-Type": "application/vnd.pypi.simple.v1+json"}, page.encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    index: PackageIndex

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: tests read `requests`."""

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # a scan process was killed in the middle of a request
            super().handle()

    def do_GET(self) -> None:
        answer = self.index.answer(self.path, self.headers.get("Authorization", ""))
        if answer is None:
            self.close_connection = True
            return
        status, headers, body = answer
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def sdist(
    project: str, version: str, files: Mapping[str, Content], *, license_name: str = "MIT", **facts: Any
) -> Upload:
    """A source distribution with `files` (path below its top folder -> content) and its metadata, which come last."""
    top = f"{project.replace('-', '_')}-{version}"
    metadata = f"Metadata-Version: 2.4\nName: {project}\nVersion: {version}\nLicense-Expression: {license_name}\n"
    entries = [(f"{top}/{path}", content) for path, content in {**files, "PKG-INFO": metadata}.items()]
    return Upload(f"{top}.tar.gz", packed(entries), **facts)


def packed(entries: Iterable[tuple[str, Content]]) -> bytes:
    """A .tar.gz; an entry that is no file is a TarInfo."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as tar:
        for name, content in entries:
            if isinstance(content, tarfile.TarInfo):
                content.name = name
                tar.addfile(content)
                continue
            data = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return gzip.compress(target.getvalue(), 1)


def link(target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    """An entry that is a link."""
    info = tarfile.TarInfo()
    info.type, info.linkname = kind, target
    return info


def wheel(project: str, version: str) -> Upload:
    return Upload(f"{project}-{version}-py3-none-any.whl", b"no archive")


def plot(number: int) -> str:
    """A short example."""
    return f"import matplotlib.pyplot as plt\nplt.plot([{number}])\n"


def stored(home: Path) -> list[str]:
    """The archives that are kept below a home folder."""
    return sorted(path.name for path in (home / "sdists").glob("*"))
