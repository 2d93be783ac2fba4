"""What commands say, and their exit status, when checkpoints do not arrive on the Hub."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.core.paths import ROOT, Home
from tests.checkpoints import write_checkpoint
from tests.loopback_hub import LoopbackHub
from tests.waiting import eventually

pytestmark = pytest.mark.slow

REPO = "me/parrot"
SMALL = ["--set", "n_layer=1", "n_embd=32", "n_head=2", "window=32", "batch_size=8", "device=cpu"]


class Shell:
    """Runs commands with a Hub on loopback."""

    def __init__(self, hub: LoopbackHub, folder: Path) -> None:
        self.hub = hub
        self.folder = folder

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        named = {"PIPELINE_HOME": str(self.folder / "home"), "PIPELINE_HUB_REPO": REPO}
        return subprocess.run(
            [sys.executable, "-m", "pipeline", *arguments],
            cwd=ROOT,
            env={**os.environ, **self.hub.environment(self.folder), **named},
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )


def test_a_run_whose_checkpoints_are_refused_does_not_end_as_a_success(tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.mkdir()
    for number in range(40):
        text = f"import pandas as pd\nframe = pd.DataFrame({{'a': range({number})}})\nprint(frame.describe())\n"
        (code / f"{number}.py").write_text(text * 5)
    with LoopbackHub() as hub:
        shell = Shell(hub, tmp_path)
        prepared = shell.run("prepare", "--source", f"files:{code}", "--corpus", "mine", "--vocab-size", "300")
        assert prepared.returncode == 0, prepared.stderr
        hub.refuse(403, on="/commit/main", body='{"error": "read-only token"}')
        done = shell.run("train", "--corpus", "mine", "--run-id", "big", "--max-steps", "2", *SMALL)
        assert done.returncode == 1, done.stderr
        assert done.stderr.startswith("The checkpoint of step 2 is not in me/parrot: The token may not write to")
        assert "read-only token" in done.stderr and done.stderr.count("\n") == 1

        shown = shell.run("status", "big").stdout
        assert "The checkpoint of step 2 is not in me/parrot" in shown
        assert "none, refused: see status" in shell.run("runs").stdout
        [listed] = json.loads(shell.run("runs", "--json").stdout)
        assert (listed["state"], listed["pushed_step"]) == ("finished", None)
        assert (listed["push_fault"]["is_refused"], listed["push_fault"]["step"]) == (True, 2)

        again = shell.run("publish", "--json")
        assert again.returncode == 1
        assert again.stderr.startswith("The checkpoint of step 2 is not in me/parrot")
        assert {row["state"] for row in json.loads(again.stdout)} <= {"refused", "superseded"}

        hub.heal()
        assert shell.run("publish").returncode == 0
        [listed] = json.loads(shell.run("runs", "--json").stdout)
        assert (listed["pushed_step"], listed["push_fault"]) == (2, None)
        assert "step 2" in shell.run("runs").stdout


def test_a_delayed_push_says_how_often_it_was_tried_and_when_next(tmp_path: Path) -> None:
    with LoopbackHub() as hub:
        shell = Shell(hub, tmp_path)
        home = Home(tmp_path / "home")
        hub.refuse(503, on="/commit/main", headers={"Retry-After": "2000"})
        write_checkpoint(home.run("alpha"), 100)
        publisher = subprocess.Popen(
            [sys.executable, "-m", "pipeline", "publish"],
            cwd=ROOT,
            env={**os.environ, **hub.environment(tmp_path), "PIPELINE_HOME": str(home.path), "PIPELINE_HUB_REPO": REPO},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            eventually(lambda: home.publisher_status(REPO).exists())
            (home.run("alpha").request).write_text(json.dumps({"request_id": "r", "kind": "train", "requested_at": 1}))
            shown = shell.run("status", "alpha").stdout
            assert "is not in me/parrot yet; 1 attempt in" in shown
            assert "the next in 33 min: The Hub cannot take it now (503" in shown
        finally:
            publisher.kill()
            publisher.wait()
