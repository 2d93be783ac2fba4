"""Malicious repositories, read from a Hub on loopback: no data of this machine, of the token's owner or of another host
gets into their rows, and their bombs stay small.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.paths import ROOT
from tests.data.dataset_hub import COMMIT, DatasetHub
from tests.data.sources.hostile_repos import Repo, Targets, bombs, chain, escapes

OWNER, PRIVATE = "bad", "me/private"
CANARY = "CANARY7f3a"
WATCHED = """
import sys
opened, connected = [], []
def watch(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes)):
        opened.append(arguments[0] if isinstance(arguments[0], str) else arguments[0].decode())
    elif event == "socket.connect" and arguments[1][:1] not in ("", b""):
        connected.append(list(arguments[1][:2]) if isinstance(arguments[1], tuple) else [str(arguments[1])])
    elif event == "socket.getaddrinfo":
        connected.append([str(arguments[0]), arguments[1]])
sys.addaudithook(watch)
"""
READ = """
import json
import datasets
datasets.config.STREAMING_READ_MAX_RETRIES = datasets.config.STREAMING_OPEN_MAX_RETRIES = 1
from pipeline.data.sources import open_source
from pipeline.core.errors import PipelineError
found = {}
for spec in sys.argv[1:]:
    rows, bad, error, status = [], [], "", 0
    try:
        for batch in open_source(spec, builders=BUILDERS).batches():
            rows += batch.rows.rows()
            bad += [[row.reason, row.where] for row in batch.bad]
    except PipelineError as caught:
        error, status = str(caught), caught.exit_status
    found[spec] = {"rows": rows, "bad": bad, "error": error, "exit_status": status}
print(json.dumps({"found": found, "opened": opened, "connected": connected}))
"""
PLAIN = """
import json, sys
import datasets
datasets.config.HF_UPDATE_DOWNLOAD_COUNTS = False
datasets.config.STREAMING_READ_MAX_RETRIES = datasets.config.STREAMING_OPEN_MAX_RETRIES = 1
found = {}
for repo in sys.argv[1:]:
    try:
        found[repo] = str(list(datasets.load_dataset(repo, revision="main", split="train", streaming=True)))
    except Exception as error:
        found[repo] = f"{type(error).__name__}: {error}"
print(json.dumps(found))
"""
PEAKS = """
import json, re, sys
from pathlib import Path
from pipeline.data.sources import open_source
from pipeline.core.errors import InputError
peaks = {}
for spec in sys.argv[1:]:
    rows = bad = 0
    try:
        for batch in open_source(spec, builders=False).batches():
            rows, bad = rows + len(batch.rows), bad + len(batch.bad)
    except InputError as error:
        rows = bad = str(error)
    status = Path("/proc/self/status").read_text()
    peaks[spec] = [int(re.search(r"VmHWM:\\s*(\\d+) kB", status)[1]) / 1024, rows, bad]
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak before the next source
print(json.dumps(peaks))
"""


@dataclass
class Listener:
    """Counts the connections to a port of this machine, without answering."""

    socket: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))
    num_connections: int = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.socket.getsockname()[1]}"

    def run(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.num_connections += 1
            connection.close()


@dataclass
class World:
    """A Hub with the repositories, and their targets, each of which contains CANARY."""

    hub: DatasetHub
    repos: dict[str, Repo]
    targets: Targets
    listener: Listener
    folder: Path

    def run(self, script: str, *arguments: str) -> Any:
        home = self.folder / "home"
        done = subprocess.run(
            [sys.executable, "-c", script, *arguments],
            cwd=self.targets.file.parent,
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(ROOT),
                "HOME": str(home),
                "HF_HOME": str(home / "hf"),
                "HF_ENDPOINT": self.hub.endpoint,
                "HF_HUB_DISABLE_XET": "1",
                "SECRET": f"{CANARY}-environ",
            },
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "home" / "hf").mkdir(parents=True)
    (folder / "work" / OWNER / "local").mkdir(parents=True)
    listener = Listener()
    threading.Thread(target=listener.run, daemon=True).start()
    with DatasetHub({PRIVATE: {"secret.txt": f"{CANARY}-private\n".encode()}}) as hub:
        file, token = folder / "work" / "canary.txt", folder / "home" / "hf" / "token"
        file.write_text(f"{CANARY}-file\n")
        token.write_text(f"hf_{CANARY}token")
        (file.parent / OWNER / "local" / "train.txt").write_text(f"{CANARY}-folder\n")
        hub.private.add(PRIVATE)
        targets = Targets(file, token, hub.endpoint, PRIVATE, listener.address)
        repos = escapes(OWNER, targets)
        hub.repos.update({name: repo.files for name, repo in repos.items()})
        yield World(hub, repos, targets, listener, folder)
    listener.socket.close()


@pytest.mark.slow
@pytest.mark.parametrize("builders", [True, False])
def test_no_repository_reads_anything_but_itself(builders: bool, world: World) -> None:
    world.hub.requests.clear()
    world.hub.tokens.clear()
    before = world.listener.num_connections
    script = WATCHED + READ.replace("BUILDERS", str(builders))
    answer = world.run(script, *(f"hub:{name}" for name in world.repos))
    found = answer["found"]
    assert len(found) == len(world.repos) > 80

    # ---- nothing was read from the targets ----
    assert CANARY not in json.dumps(found)
    assert answer["opened"], "control: the audit hook works"
    watched = {str(world.targets.file), str(world.targets.token), "/proc/self/environ"}
    assert not watched & set(answer["opened"])
    assert not [path for path in answer["opened"] if "opened-by" in path]
    assert not list(world.targets.file.parent.glob("opened-by*"))

    # ---- no other host was contacted ----
    port = world.hub.server_port
    assert {tuple(address) for address in answer["connected"]} == {("127.0.0.1", port)}
    assert world.listener.num_connections == before
    assert world.hub.tokens == []
    assert_only_own_files(world)

    # ---- each refusal is one sentence; harmless parts are read ----
    for name, repo in world.repos.items():
        one = found[f"hub:{name}"]
        assert "\n" not in one["error"]
        assert len(one["error"]) < 500
        assert bool(one["error"]) == repo.is_refused, (name, one)
        if repo.is_refused:
            assert (one["exit_status"], name in one["error"], one["rows"]) == (2, True, []), (name, one)
    for name in ("other-yaml", "other-script", "other-names"):
        assert [row[4] for row in found[f"hub:{OWNER}/{name}"]["rows"]] == ["good"], name
    assert len(found[f"hub:{OWNER}/other-names"]["bad"]) == 8
    assert {reason for reason, _ in found[f"hub:{OWNER}/other-names"]["bad"]} == {"name that is no plain path"}
    assert found[f"hub:{OWNER}/other-symlink"]["rows"][0][4] == str(world.targets.file), "its text, not what it names"


def assert_only_own_files(world: World) -> None:
    """Every request was for a requested repository, and for a file that it has."""
    assert world.hub.requests
    for request in set(world.hub.requests) - {"GET /api/agent-harnesses"}:  # the client's own, for no repository
        match = re.fullmatch(
            r"\w+ /(?:api/)?datasets/([^/]+/[^/]+)(?:/(?:revision|tree)/[^/]+)?(?:/resolve/([^/]+)/(.*))?", request
        )
        assert match, request
        assert match[1] in world.repos, request
        if match[3]:
            assert (match[2], match[3] in world.repos[match[1]].files) == (COMMIT, True), request


@pytest.mark.slow
def test_plain_datasets_leaks_all_targets(world: World) -> None:
    """The control: these repositories are dangerous."""
    goals = ("environ", "file", "token", "private")
    names = [*(f"chain-simplecache-{goal}" for goal in goals), "chain-straight-ftp", "local"]
    before = world.listener.num_connections
    found = world.run(PLAIN, *(f"{OWNER}/{name}" for name in names))
    for goal in goals:
        assert CANARY in found[f"{OWNER}/chain-simplecache-{goal}"], goal
    assert world.listener.num_connections > before, found
    assert world.hub.tokens, "the token was sent"
    assert CANARY in found[f"{OWNER}/local"], "a folder of that name was read"


@pytest.mark.slow
def test_a_refusal_does_not_tell_whether_a_local_file_exists(world: World) -> None:
    errors = {}
    for name, path in {"yes": world.targets.file, "not": world.targets.file.with_name("nosuch.txt")}.items():
        repo = f"{OWNER}/same-{name}"
        world.hub.repos[repo] = chain("simplecache", f"file://{path}", repo)
        world.hub.repos[f"{repo}-path"] = {
            "README.md": f"---\nconfigs:\n- config_name: a\n  data_files: {path}\n---\n".encode()
        }
        for one in (repo, f"{repo}-path"):
            error = world.run(WATCHED + READ.replace("BUILDERS", "True"), f"hub:{one}")["found"][f"hub:{one}"]["error"]
            shown = next(path.name[:n] for n in range(len(path.name), 0, -1) if n < 4 or path.name[:n] in error)
            errors[one] = error.replace(f"same-{name}", "same").replace(shown, "x")  # a long path is shown cut
    assert errors[f"{OWNER}/same-yes"] == errors[f"{OWNER}/same-not"] != ""
    assert errors[f"{OWNER}/same-yes-path"] == errors[f"{OWNER}/same-not-path"] != ""


@pytest.mark.slow
def test_a_name_on_the_hub_never_means_a_folder_here(world: World) -> None:
    answer = world.run(WATCHED + READ.replace("BUILDERS", "True"), f"hub:{OWNER}/local", f"hub:{OWNER}")
    assert "no such public repository" in answer["found"][f"hub:{OWNER}/local"]["error"]
    for one in answer["found"].values():
        assert (one["rows"], one["exit_status"]) == ([], 2)
    assert not [path for path in answer["opened"] if "train.txt" in path]
    world.hub.repos[f"{OWNER}/local"] = {"train.txt": b"from the hub\n"}
    found = world.run(WATCHED + READ.replace("BUILDERS", "True"), f"hub:{OWNER}/local")["found"][f"hub:{OWNER}/local"]
    del world.hub.repos[f"{OWNER}/local"]
    assert [row[4] for row in found["rows"]] == ["from the hub"], "control"


@pytest.mark.slow
def test_bombs_are_read_in_bounded_memory(world: World) -> None:
    files = {"ordinary": {"a.csv": b"content\nx\n", "b.csv": b"content\n"}, **bombs()}
    assert len(files) > 20
    assert max(len(data) for repo in files.values() for data in repo.values()) < 50 * 2**20
    world.hub.repos.update({f"bomb/{name}": repo for name, repo in files.items()})
    peaks = world.run(PEAKS, *(f"hub:bomb/{name}" for name in files))
    ordinary = peaks["hub:bomb/ordinary"][0]
    for spec, (megabytes, _, bad) in peaks.items():
        allowed = 120 if spec.startswith("hub:bomb/line-of-") else 400
        assert megabytes < ordinary + allowed, (spec, megabytes - ordinary)
        assert bad or spec.endswith(("ordinary", "line-ends-txt-gz", "long-lines-txt-gz")), spec
    assert "only the page's owner may read .arrow" in peaks["hub:bomb/arrow"][1]
