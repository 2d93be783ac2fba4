"""Model and dataset repos of the loopback Hub: their content in memory, and the responses without faults.

A dataset repo is named `datasets/owner/name`, as in its URL; a model repo `owner/name`. The URLs, fields and headers
are those that the huggingface_hub client relies on.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

REPO = r"(?P<repo>(?:datasets/)?[^/]+/[^/]+)"
LFS_ENDINGS = (".safetensors", ".parquet")
API = r"/api/(?P<kind>models|datasets)/(?P<repo>[^/]+/[^/]+)"
READS = "/paths-info/"
"""The only POST that needs no token: the repos are public."""


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
class Reply:
    status: int
    value: Any = None
    """Sent as JSON, unless `content` is set."""
    headers: dict[str, str] = field(default_factory=dict)
    content: bytes | None = None


class Repos:
    """All repos, each with only a `main` branch. Not thread-safe: callers hold the server's lock."""

    def __init__(self, *, url: str, token: str) -> None:
        self.url = url
        self.token = token
        self.page_size = 50
        """Commits per page of a listing."""
        self.role = "write"
        """That of the token: `write` or `read`."""
        self.private: set[str] = set()
        self.tags: dict[str, dict[str, str]] = {}
        """Repo -> tag -> commit."""
        self._commits: dict[str, list[Commit]] = {}
        self._lfs: dict[str, bytes] = {}
        self.num_squashes = 0

    def commits(self, repo: str) -> list[Commit]:
        """Oldest first; empty when there is no such repo."""
        return list(self._commits.get(repo, []))

    def answer(self, request: str, body: bytes, query: dict[str, list[str]], authorization: str) -> Reply:
        """`request` is `METHOD path`."""
        routes = (
            (r"GET /api/whoami-v2", lambda **_: self._whoami(authorization)),
            (r"POST /api/repos/create", self._create),
            (r"POST /api/validate-yaml", lambda **_: Reply(200, {"errors": [], "warnings": []})),
            (rf"POST {API}/preupload/main", self._preupload),
            (rf"POST /{REPO}\.git/info/lfs/objects/batch", self._lfs_batch),
            (r"PUT /_lfs/(?P<oid>\w+)", self._lfs_upload),
            (rf"POST {API}/commit/main", self._commit),
            (rf"GET {API}/refs", self._refs),
            (rf"POST {API}/tag/(?P<revision>[^/]+)", self._add_tag),
            (rf"DELETE {API}/tag/(?P<name>[^/]+)", self._delete_tag),
            (rf"GET {API}(?:/revision/(?P<revision>.+))?", self._info),
            (rf"GET {API}/tree/(?P<revision>[^/]+)(?:/(?P<folder>.+))?", self._tree),
            (rf"POST {API}/paths-info/(?P<revision>[^/]+)", self._paths_info),
            (rf"GET {API}/commits/main", self._list_commits),
            (rf"POST {API}/super-squash/main", self._super_squash),
            (rf"(?:GET|HEAD) /{REPO}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", self._resolve),
        )
        for pattern, route in routes:
            if found := re.fullmatch(pattern, request):
                # An upload needs no token: as with the real Hub's storage, its URL is the permission.
                is_write = request.startswith(("POST", "DELETE")) and READS not in request
                if is_write and authorization != f"Bearer {self.token}":
                    return Reply(401, {"error": "Invalid username or password."})
                facts = found.groupdict()
                if facts.pop("kind", None) == "datasets":
                    facts["repo"] = f"datasets/{facts['repo']}"
                return route(**facts, body=body, query=query)
        return Reply(404, {"error": f"the loopback Hub does not know {request}"})

    def _whoami(self, authorization: str) -> Reply:
        if authorization != f"Bearer {self.token}":
            return Reply(401, {"error": "Invalid credentials in Authorization header"})
        token = {"displayName": "test", "role": self.role}
        return Reply(200, {"type": "user", "name": "me", "orgs": [{"name": "flock"}], "auth": {"accessToken": token}})

    def _create(self, body: bytes, **_: Any) -> Reply:
        asked = json.loads(body)
        folder = "datasets/" if asked.get("type") == "dataset" else ""
        repo = f"{folder}{asked.get('organization') or 'me'}/{asked['name']}"
        if repo in self._commits:
            return Reply(409, {"error": "You already created this repo", "url": f"{self.url}/{repo}"})
        if asked.get("private") or asked.get("visibility") == "private":
            self.private.add(repo)
        self.append(repo, "initial commit", "", {".gitattributes": File(b"*.safetensors lfs\n", is_lfs=False)})
        return Reply(200, {"url": f"{self.url}/{repo}"})

    def _preupload(self, repo: str, body: bytes, **_: Any) -> Reply:
        if repo not in self._commits:
            return _no_repo()
        existing = self._commits[repo][-1].files
        answers = []
        for asked in json.loads(body)["files"]:
            mode = "lfs" if asked["path"].endswith(LFS_ENDINGS) else "regular"
            oid = existing[asked["path"]].oid if asked["path"] in existing else None
            answers.append({"path": asked["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        return Reply(200, {"files": answers})

    def _lfs_batch(self, repo: str, body: bytes, **_: Any) -> Reply:
        objects = []
        for asked in json.loads(body)["objects"]:
            upload = {"upload": {"href": f"{self.url}/_lfs/{asked['oid']}", "header": {}}}
            known = asked["oid"] in self._lfs  # uploaded already: no `actions` in the response
            objects.append({"oid": asked["oid"], "size": asked["size"], **({} if known else {"actions": upload})})
        return Reply(200, {"transfer": "basic", "objects": objects})

    def _lfs_upload(self, oid: str, body: bytes, **_: Any) -> Reply:
        if hashlib.sha256(body).hexdigest() != oid:
            return Reply(400, {"error": "the content is not what its name says"})
        self._lfs[oid] = body
        return Reply(200, {})

    def _commit(self, repo: str, body: bytes, **_: Any) -> Reply:
        if repo not in self._commits:
            return _no_repo()
        header: dict[str, Any] = {}
        changed: dict[str, File | None] = {}
        for line in body.splitlines():
            part = json.loads(line)
            value = part["value"]
            if part["key"] == "header":
                header = value
            elif part["key"] == "deletedFile":
                changed[value["path"]] = None
            elif part["key"] == "lfsFile":
                changed[value["path"]] = File(self._lfs[value["oid"]], is_lfs=True)
            else:
                changed[value["path"]] = File(base64.b64decode(value["content"]), is_lfs=False)
        if header.get("parentCommit") not in (None, self._commits[repo][-1].oid):
            return Reply(412, {"error": "A commit has happened since. Please refresh and try again."})
        oid = self.append(repo, header["summary"], header.get("description", ""), changed)
        return Reply(200, {"success": True, "commitOid": oid, "commitUrl": f"{self.url}/{repo}/commit/{oid}"})

    def append(self, repo: str, title: str, message: str, changed: Mapping[str, File | None]) -> str:
        """Add a commit to `main`; None in `changed` deletes a file."""
        commits = self._commits.setdefault(repo, [])
        date = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=len(commits))
        oid = hashlib.sha1(f"{repo} {len(commits)} {title}".encode()).hexdigest()
        merged = {**(commits[-1].files if commits else {}), **changed}
        files = {path: file for path, file in merged.items() if file is not None}
        commits.append(Commit(oid, title, message, date.strftime("%Y-%m-%dT%H:%M:%S.000Z"), files))
        return oid

    def _super_squash(self, repo: str, body: bytes, **_: Any) -> Reply:
        """One commit with the files of the head; the others are gone."""
        if repo not in self._commits:
            return _no_repo()
        self.num_squashes += 1
        files = self._commits.pop(repo)[-1].files
        self.append(repo, f"{json.loads(body)['message']} {self.num_squashes}", "", dict(files))
        self._commits[repo][0] = replace(self._commits[repo][0], title=json.loads(body)["message"])
        return Reply(200, {})

    def delete(self, repo: str) -> None:
        for by_repo in (self._commits, self.tags):
            by_repo.pop(repo, None)
        self.private.discard(repo)

    def _refs(self, repo: str, **_: Any) -> Reply:
        if repo not in self._commits:
            return _no_repo()
        tags = [
            {"name": name, "ref": f"refs/tags/{name}", "targetCommit": oid}
            for name, oid in self.tags.get(repo, {}).items()
        ]
        main = {"name": "main", "ref": "refs/heads/main", "targetCommit": self._commits[repo][-1].oid}
        return Reply(200, {"branches": [main], "tags": tags, "converts": []})

    def _add_tag(self, repo: str, revision: str, body: bytes, **_: Any) -> Reply:
        commit, name = self._find(repo, revision), json.loads(body)["tag"]
        if commit is None:
            return _no_repo()
        if name in self.tags.setdefault(repo, {}):
            return Reply(409, {"error": "Tag reference exists already"})
        self.tags[repo][name] = commit.oid
        return Reply(200, {})

    def _delete_tag(self, repo: str, name: str, **_: Any) -> Reply:
        if self.tags.get(repo, {}).pop(name, None) is None:
            return Reply(404, {"error": "Tag not found"}, {"X-Error-Code": "RevisionNotFound"})
        return Reply(200, {})

    def _find(self, repo: str, revision: str | None) -> Commit | None:
        commits = self._commits.get(repo, [])
        if revision in (None, "main"):
            return commits[-1] if commits else None
        oid = self.tags.get(repo, {}).get(revision or "", revision)
        return next((commit for commit in commits if commit.oid == oid), None)

    def _info(self, repo: str, revision: str | None, **_: Any) -> Reply:
        commit = self._find(repo, revision)
        if commit is None:
            return _no_repo()
        name, is_private = repo.removeprefix("datasets/"), repo in self.private
        named = {"id": name, "modelId": name, "sha": commit.oid, "private": is_private, "tags": [], "downloads": 0}
        return Reply(200, {**named, "likes": 0, "siblings": [_sibling(*file) for file in commit.files.items()]})

    def _tree(
        self, repo: str, revision: str, query: dict[str, list[str]], folder: str | None = None, **_: Any
    ) -> Reply:
        commit = self._find(repo, revision)
        if commit is None:
            return _no_repo()
        prefix = f"{folder}/" if folder else ""
        below = [path for path in commit.files if path.startswith(prefix)]
        if folder and not below:
            return Reply(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"})
        here = [path for path in below if "/" not in path.removeprefix(prefix)]
        folders = sorted({prefix + path.removeprefix(prefix).split("/")[0] for path in below if path not in here})
        listed = [
            {"type": "directory", "path": name, "oid": hashlib.sha1(name.encode()).hexdigest()} for name in folders
        ]
        shown = below if query.get("recursive", ["false"])[0].lower() == "true" else here
        return Reply(200, [*listed, *(_entry(path, commit.files[path]) for path in shown)])

    def _paths_info(self, repo: str, revision: str, body: bytes, **_: Any) -> Reply:
        commit = self._find(repo, revision)
        if commit is None:
            return _no_repo()
        asked = _asked_paths(body)
        return Reply(200, [_entry(path, file) for path, file in commit.files.items() if path in asked])

    def _list_commits(self, repo: str, query: dict[str, list[str]], **_: Any) -> Reply:
        if repo not in self._commits:
            return _no_repo()
        page, newest_first = int(query.get("p", ["0"])[0]), self._commits[repo][::-1]
        shown = newest_first[page * self.page_size : (page + 1) * self.page_size]
        rows = [{"id": c.oid, "title": c.title, "message": c.message, "date": c.date, "authors": []} for c in shown]
        more = len(newest_first) > (page + 1) * self.page_size
        kind = "" if repo.startswith("datasets/") else "models/"
        following = f'<{self.url}/api/{kind}{repo}/commits/main?p={page + 1}>; rel="next"'
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


def _sibling(path: str, file: File) -> dict[str, Any]:
    size = len(file.content)
    lfs = {"lfs": {"sha256": file.oid, "size": size, "pointerSize": 134}} if file.is_lfs else {}
    return {"rfilename": path, "size": size, "blobId": file.oid, **lfs}


def _entry(path: str, file: File) -> dict[str, Any]:
    lfs = {"lfs": {"oid": file.oid, "size": len(file.content), "pointerSize": 134}} if file.is_lfs else {}
    blob = hashlib.sha1(f"pointer of {file.oid}".encode()).hexdigest() if file.is_lfs else file.oid
    return {"type": "file", "oid": blob, "size": len(file.content), "path": path, **lfs}


def _asked_paths(body: bytes) -> list[str]:
    """The `paths` of a request body, which is JSON or a form."""
    try:
        return json.loads(body)["paths"]
    except ValueError:
        return parse_qs(body.decode())["paths"]


def _no_repo() -> Reply:
    return Reply(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
