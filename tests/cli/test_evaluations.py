"""The command evaluate, in this process, with a suite of one task and the starter model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.cli import evaluations
from pipeline.cli.app import main
from tests.evaluation import CONFINES
from tests.evaluation.test_evaluate import task

pytestmark = [pytest.mark.slow, CONFINES]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PIPELINE_HOME", str(tmp_path / "home"))
    suite = (task("one", "import numpy as np\nx = np.", "assert x is not None"),)
    monkeypatch.setattr(evaluations, "tasks", lambda: suite)
    return tmp_path / "home"


def test_a_revision_is_evaluated_once_and_again_on_request(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["evaluate", "--samples", "2", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["run"], found["samples"], found["tasks"]["count"]) == ("starter", 2, 1)
    (path,) = (home / "evaluations").iterdir()
    assert json.loads(path.read_text()) == found
    assert main(["evaluate", "--samples", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [found]
    assert main(["evaluate", "--samples", "2", "--again"]) == 0
    text = capsys.readouterr().out
    assert f"revision {found['revision']}" in text and "pass@1" in text and "1 of 1 tasks completed" in text
    assert main(["evaluate", "--samples", "3"]) == 0, "other settings are another result"
    assert "3 of 3 programs run" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--samples", "0"], "samples is 0"),
        (["--samples", "101"], "samples is 101"),
        (["--revision", "abcdef"], "abcdef"),
        (["--run", "nobody"], "Run nobody has no pushed revision"),
        (["--run", "x", "--revision", "newest"], "leave out --revision, or --run"),
    ],
)
def test_what_cannot_be_evaluated_is_one_sentence(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", *arguments]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1
