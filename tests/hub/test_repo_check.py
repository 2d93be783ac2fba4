"""The check before a run, by the real client in a process of its own, against a loopback Hub."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.core.paths import ROOT
from tests.loopback_hub import TOKEN, LoopbackHub

pytestmark = pytest.mark.slow

CHECK = """
from pipeline.core.errors import PipelineError
from pipeline.core.settings import Settings
from pipeline.hub.repo_check import check_model_repo
try:
    check_model_repo(Settings.from_environment())
except PipelineError as error:
    print(error)
"""


def check(hub: LoopbackHub, folder: Path, repo: str = "me/parrot", token: str | None = TOKEN, **variables: str) -> str:
    named = {"PIPELINE_HOME": str(folder / "home"), "PIPELINE_HUB_REPO": repo, **variables}
    environment = {**os.environ, **hub.environment(folder, token), **named}
    command = [sys.executable, "-c", CHECK]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.strip()


@pytest.mark.parametrize("repo", ["me/parrot", "flock/parrot"])
def test_a_repo_that_the_token_may_create_is_accepted_and_not_created(
    hub: LoopbackHub, tmp_path: Path, repo: str
) -> None:
    assert check(hub, tmp_path, repo) == ""
    assert not hub.commits(repo)


def test_what_the_hub_would_refuse_is_refused_before_the_start(hub: LoopbackHub, tmp_path: Path) -> None:
    assert check(hub, tmp_path, token=None).startswith("HF_TOKEN is not set; set it")
    assert "does not accept the token for me/parrot" in check(hub, tmp_path, token="hf_expired")
    assert "set PIPELINE_HUB_REPO to me/NAME" in check(hub, tmp_path, "stranger/parrot")
    assert "write it as owner/name" in check(hub, tmp_path, "me/a..b")
    hub.repos.role = "read"
    assert check(hub, tmp_path).startswith("HF_TOKEN may only read; set it to a token that may write to me/parrot")


def test_a_hub_that_does_not_answer_stops_no_run(hub: LoopbackHub, tmp_path: Path) -> None:
    hub.refuse(503)
    assert check(hub, tmp_path) == ""
    hub.heal()
    hub.refuse(200, body="[]")
    assert check(hub, tmp_path) == ""
    hub.stop()
    assert check(hub, tmp_path) == ""


def test_a_repo_that_somebody_else_wrote_is_refused_unless_it_is_taken_over(hub: LoopbackHub, tmp_path: Path) -> None:
    hub.commit("me/parrot", "By hand", {".gitattributes": "x"})
    assert check(hub, tmp_path) == ""
    hub.commit("me/parrot", "By hand", {"model.safetensors": "x", "README.md": "# Mine"})
    assert check(hub, tmp_path).startswith(
        "Model repo me/parrot holds README.md and 1 more, not written by this program"
    )
    assert check(hub, tmp_path, PIPELINE_HUB_TAKE_OVER="1") == ""
    assert "PIPELINE_HUB_TAKE_OVER is 'yes'" in check(hub, tmp_path, PIPELINE_HUB_TAKE_OVER="yes")
    assert "me/parrot is public, and PIPELINE_HUB_PRIVATE is 1" in check(hub, tmp_path, PIPELINE_HUB_PRIVATE="1")
    hub.commit("me/parrot", "Squashed", {"provenance.json": "{}"})
    assert check(hub, tmp_path) == "", "its history may have been squashed"
