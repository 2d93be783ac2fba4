"""`PIPELINE_HUB_REPO=NAME`: the owner is the account of the token."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.core.paths import ROOT
from pipeline.hub.owner import complete_repo
from tests.loopback_hub import TOKEN, LoopbackHub

SHOW = """
import os
from pipeline.core.errors import PipelineError
from pipeline.hub.owner import complete_repo
try:
    complete_repo()
    print(os.environ.get("PIPELINE_HUB_REPO", ""))
except PipelineError as error:
    print(f"{type(error).__name__}: {error}")
"""


def completed(hub: LoopbackHub, folder: Path, name: str, token: str | None = TOKEN) -> str:
    environment = {**os.environ, **hub.environment(folder, token), "PIPELINE_HUB_REPO": name}
    done = subprocess.run(
        [sys.executable, "-c", SHOW], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_a_name_gets_the_owner_of_the_token(hub: LoopbackHub, tmp_path: Path) -> None:
    assert completed(hub, tmp_path, "parrot") == "me/parrot"
    assert hub.requests == ["GET /api/whoami-v2"]


@pytest.mark.parametrize("name", ["they/parrot", ""])
def test_a_whole_name_and_none_ask_nobody(hub: LoopbackHub, tmp_path: Path, name: str) -> None:
    assert completed(hub, tmp_path, name) == name
    assert hub.requests == []


@pytest.mark.parametrize("name", ["a--b", "..", "x.git", "a b", "-x"])
def test_a_malformed_name_is_refused_without_a_request(hub: LoopbackHub, tmp_path: Path, name: str) -> None:
    assert completed(hub, tmp_path, name).startswith(f"FieldError: PIPELINE_HUB_REPO is {name!r}")
    assert hub.requests == []


def test_without_a_token_or_with_a_wrong_one_it_says_so(hub: LoopbackHub, tmp_path: Path) -> None:
    assert "HF_TOKEN is not set" in completed(hub, tmp_path, "parrot", token=None)
    assert "The Hub does not accept the token" in completed(hub, tmp_path, "parrot", token="hf_wrong")


@pytest.mark.parametrize("fault", [{"status": 503}, {"status": 200, "body": "[]"}, {"status": 200, "body": "{"}])
def test_a_hub_that_cannot_be_asked_has_a_remedy(hub: LoopbackHub, tmp_path: Path, fault: dict[str, object]) -> None:
    hub.refuse(**fault)  # type: ignore[arg-type]
    assert completed(hub, tmp_path, "parrot").endswith("write OWNER/parrot.")


def test_the_environment_of_children_has_the_whole_name() -> None:
    environ = {"PIPELINE_HUB_REPO": "me/parrot"}
    complete_repo(environ)
    assert environ == {"PIPELINE_HUB_REPO": "me/parrot"}
