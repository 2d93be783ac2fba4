"""GPT-2 models of other repos on the Hub, used by the command line with the loopback Hub."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.artifacts.starter import FOLDER
from pipeline.core.paths import ROOT, Home
from tests.loopback_hub import LoopbackHub
from tests.loopback_repos import File

MODEL = "they/gpt2-small"
NAMES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")


def add(hub: LoopbackHub, repo: str = MODEL, **changes: bytes | None) -> None:
    """Make a repo of a GPT-2. `changes`: contents by name, with _ for the dot; None leaves a file out."""
    files = {name: (FOLDER / name).read_bytes() for name in NAMES} | {
        name.replace("__", "."): content for name, content in changes.items()
    }
    hub.repos.append(repo, "init", "", {})
    hub.repos.append(
        repo,
        "model",
        "",
        {name: File(text, is_lfs=name.endswith(".safetensors")) for name, text in files.items() if text is not None},
    )


def run(hub: LoopbackHub, folder: Path, *arguments: str, status: int = 0, **variables: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", *arguments],
        cwd=ROOT,
        env={**os.environ, **hub.environment(folder), "PIPELINE_HOME": str(folder / "home"), **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout if status == 0 else done.stderr


def generate(hub: LoopbackHub, folder: Path, revision: str, **options: Any) -> Any:
    arguments = ["generate", "import ", "--max-new-tokens", "4", "--temperature", "0", "--revision", revision]
    found = run(hub, folder, *arguments, *(["--json"] if "status" not in options else []), **options)
    return json.loads(found) if "status" not in options else found


def test_a_model_of_another_repo_answers_as_its_files_do(hub: LoopbackHub, tmp_path: Path) -> None:
    add(hub)
    answer = generate(hub, tmp_path, MODEL)
    assert (answer["repo"], answer["run"]) == (MODEL, "")
    own = generate(hub, tmp_path, "starter")
    assert (own["repo"], answer["samples"]) == ("starter", own["samples"])
    named = f"{MODEL}@{answer['revision']}"
    num_requests = len(hub.requests)
    assert generate(hub, tmp_path, named)["samples"] == own["samples"]
    assert len(hub.requests) == num_requests, "a commit that is on this disk needs no Hub"
    assert not (Home(tmp_path / "home").registry("local")).exists(), "it is no push"


def test_the_owners_token_is_not_sent(hub: LoopbackHub, tmp_path: Path) -> None:
    add(hub)
    hub.refuse(418, on="never")
    seen: list[str] = []
    answer = hub.repos.answer

    def spy(request: str, body: bytes, query: Any, authorization: str) -> Any:
        seen.append(authorization)
        return answer(request, body, query, authorization)

    hub.repos.answer = spy  # type: ignore[method-assign]
    generate(hub, tmp_path, MODEL)
    assert set(seen) == {""}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model__safetensors": None, "pytorch_model__bin": b"x"}, "they/gpt2-small has no model.safetensors"),
        ({"tokenizer__json": None}, "they/gpt2-small has no tokenizer.json"),
        ({"config__json": b'{"model_type": "llama"}'}, "they/gpt2-small is of type 'llama'; choose a GPT-2"),
        ({"config__json": b"["}, "they/gpt2-small is of type 'None'"),
        ({"config__json": b" " * 2_000_000}, "config.json"),
    ],
)
def test_a_repo_without_a_plain_gpt2_is_refused_before_its_weights_are_downloaded(
    hub: LoopbackHub, tmp_path: Path, changes: dict[str, bytes | None], said: str
) -> None:
    add(hub, **changes)
    assert said in generate(hub, tmp_path, MODEL, status=2)
    assert not [request for request in hub.requests if request.endswith("model.safetensors")]


@pytest.mark.parametrize("name", ["they/", "/x", "a/b/c", "../x", "they/x@a b", "they/..", "they/x.git"])
def test_a_malformed_name_is_refused_without_a_request(hub: LoopbackHub, tmp_path: Path, name: str) -> None:
    assert "revision is" in generate(hub, tmp_path, name, status=2)
    assert hub.requests == []


def test_an_unknown_repo_and_a_hub_that_is_away_are_told(hub: LoopbackHub, tmp_path: Path) -> None:
    assert "The Hub has no public repo they/nothing; check its name" in generate(
        hub, tmp_path, "they/nothing", status=1
    )
    hub.refuse(503)
    assert "503" in generate(hub, tmp_path, MODEL, status=1)


def test_code_in_the_repo_is_neither_downloaded_nor_run(hub: LoopbackHub, tmp_path: Path) -> None:
    config = json.loads((FOLDER / "config.json").read_text())
    code = {"auto_map": {"AutoModelForCausalLM": "modeling.Evil"}}
    add(hub, config__json=json.dumps({**config, **code}).encode(), modeling__py=b"open('/tmp/evil', 'w')")
    assert "auto_map" in generate(hub, tmp_path, MODEL, status=1)
    assert not [request for request in hub.requests if request.endswith(".py")]
