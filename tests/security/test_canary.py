"""The Hub token and the owner's key on one whole way: neither is written, served, pushed or in a command line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.core.paths import ROOT, Home
from pipeline.jobs.state import job_state
from tests.data.examples import code_folder
from tests.hub.test_gallery_push import keep
from tests.hub.test_wiped_disk import SMALL, writers
from tests.loopback_hub import LoopbackHub
from tests.page import Page
from tests.posts import post
from tests.waiting import eventually

pytestmark = pytest.mark.slow

TOKEN, KEY = "hf_CANARYtoken4711canarytoken4711", "CANARY-key-4711-of-the-owner"
SECRETS = (TOKEN, KEY)
REPO, DATASET, RUN = "me/parrot", "me/code", "parrot"
STEPS = 300
COMMIT = "POST .*/commit/main"
SERVED = ("/", "/config", "/gradio_api/info")


class Instance:
    """A home with its page, its command line and a Hub, all of them with the same two secrets."""

    def __init__(self, folder: Path, hub: LoopbackHub) -> None:
        self.folder = folder
        self.hub = hub
        self.home = Home(folder / "home")
        switches = {"PIPELINE_OWNER_KEY": KEY, "PIPELINE_HUB_REPO": REPO, "PIPELINE_HUB_STATE": "1"}
        self.environment = {**hub.environment(folder, TOKEN), **switches}
        self.page = Page(self.home.path, **self.environment)
        self.command_lines: set[str] = set()
        """Of every process that had a file of the folder open when it was looked for."""

    def run(self, *arguments: str) -> None:
        with (self.folder / "commands.log").open("ab") as log:
            subprocess.run(
                [sys.executable, "-m", "pipeline", *arguments],
                cwd=ROOT,
                env={**os.environ, **self.environment, "PIPELINE_HOME": str(self.home.path)},
                stdout=log,
                stderr=log,
                timeout=300,
                check=True,
            )

    def look_at_processes(self) -> None:
        for pid in writers(self.folder):
            try:
                self.command_lines.add(Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " "))
            except OSError:  # it has ended
                continue

    def served(self) -> dict[str, bytes]:
        found = {}
        for path in SERVED:
            with urllib.request.urlopen(self.page.url + path, timeout=60) as response:
                found[path] = response.read()
        return found

    def findings(self) -> list[str]:
        """Where one of the secrets is."""
        self.look_at_processes()
        files = {str(path): path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}
        pushed = {
            f"{repo} {commit.title} {name}": content
            for repo in (REPO, f"datasets/{DATASET}")
            for commit in self.hub.commits(repo)
            for name, content in [
                ("title", f"{commit.title}\n{commit.message}".encode()),
                *((name, file.content) for name, file in commit.files.items()),
            ]
        }
        lines = {f"command line {line}": line.encode() for line in self.command_lines}
        places = {**files, **pushed, **lines, **self.served()}
        return [name for name, content in places.items() if any(secret.encode() in content for secret in SECRETS)]


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Instance]:
    with LoopbackHub(token=TOKEN) as hub:
        made = Instance(tmp_path, hub)
        yield made
        made.page.kill()
        for pid in writers(tmp_path):
            os.kill(pid, signal.SIGKILL)


def test_no_file_process_page_or_push_has_the_token_or_the_key(instance: Instance) -> None:
    hub = instance.hub
    code_folder(instance.folder / "code", 60)
    instance.run("prepare", "--source", f"files:{instance.folder / 'code'}", "--corpus", "mine", "--vocab-size", "300")
    instance.page.start()
    status, answer = post(instance.page, "/studio/unlock", {"key": KEY})
    assert (status, "owner" in answer) == (200, True)
    instance.run("publish", "--corpus", "mine", "--dataset", DATASET)
    hub.refuse(500, on=COMMIT, times=1, body='{"error": "you sent {authorization}"}')
    hub.refuse(403, on="POST .*/preupload", times=1, body='{"error": "you sent {authorization}"}')
    steps = ["--max-steps", str(STEPS)]
    instance.run("train", "--corpus", "mine", "--run-id", RUN, *steps, "--detach", "--set", *SMALL.split())

    def has_begun() -> bool:
        instance.look_at_processes()
        return bool(hub.titles(REPO))

    eventually(has_begun, "a push after the faults", seconds=300)
    keep(instance.home, "x")

    def has_ended() -> bool:
        instance.look_at_processes()
        pushed = hub.titles(REPO)
        return f"Training in progress step {STEPS}: run {RUN} ended" in pushed and "Update gallery.jsonl" in pushed

    eventually(has_ended, "the last push", seconds=300)
    eventually(lambda: job_state(instance.home.run(RUN)).state == "finished", "the end of the run")
    for name in ("app.py", "pipeline.jobs", "pipeline.hub", "pipeline.hub.push_attempt", "pipeline.training"):
        assert any(name in line for line in instance.command_lines), (name, instance.command_lines)
    written = b"".join(path.read_bytes() for path in instance.home.path.rglob("*") if path.is_file())
    assert b"you sent Bearer [token]" in written, "the Hub did send it back"
    assert instance.findings() == []
    assert_findings_are_noticed(instance)


def assert_findings_are_noticed(instance: Instance) -> None:
    """Negative control: the same search finds a secret in a log, in a push and in a command line."""
    log = instance.home.run(RUN).log
    with log.open("a") as file:
        file.write(f"using {TOKEN}\n")
    instance.hub.edit(REPO, "notes.md", KEY)
    command = [sys.executable, "-c", "import time; time.sleep(600)", KEY]
    with log.open() as held, subprocess.Popen(command, stdin=held) as process:
        eventually(lambda: len(instance.findings()) >= 3, "three findings")
        process.kill()
    found = instance.findings()
    assert str(log) in found
    assert any("notes.md" in name for name in found)
    assert any(name.startswith("command line") for name in found)
