"""The command evaluate, with the starter model: a real job, and what is refused before one starts."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cli.app import main
from pipeline.core.paths import ROOT, Home
from pipeline.jobs.views import evaluation_view
from tests.evaluation import CONFINES
from tests.homes import end_jobs
from tests.waiting import eventually

pytestmark = [pytest.mark.slow, CONFINES]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("PIPELINE_HOME", str(tmp_path / "home"))
    return Home(tmp_path / "home")


def test_a_revision_is_evaluated_by_a_job_and_its_figures_are_printed(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "--samples", "1", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["run"], found["samples"], found["tasks"]["count"]) == ("starter", 1, 180)
    assert json.loads(home.evaluation(found["revision"]).read_text()) == found
    assert "programs" not in home.evaluating.log.read_text() and "run 180 of 180" in home.evaluating.log.read_text()
    assert main(["evaluate", "--samples", "1"]) == 0
    text = capsys.readouterr().out
    assert found["revision"] in text and "pass@1" in text and "tasks completed" not in text, "it was evaluated before"
    end_jobs(home)


def test_one_that_goes_on_by_itself_is_stopped_and_ctrl_c_stops_one(home: Home) -> None:
    command = [sys.executable, "-m", "pipeline", "evaluate", "--samples", "20"]
    subprocess.run([*command, "--detach"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    assert evaluation_view(home).state in ("queued", "starting", "running")
    assert main(["evaluate", "--stop"]) == 0
    eventually(lambda: evaluation_view(home).state == "stopped")
    followed = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert followed.stdout is not None
    assert any("tasks completed" in line for line in followed.stdout)
    followed.send_signal(signal.SIGINT)
    assert followed.wait(60) == 0
    assert "evaluation  stopped" in followed.stdout.read()
    end_jobs(home)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--samples", "0"], "samples is 0"),
        (["--samples", "101"], "samples is 101"),
        (["--revision", "abcdef"], "abcdef"),
        (["--corpus", "gone"], "Corpus gone is not prepared"),
        (["--run", "nobody"], "Run nobody has no pushed revision"),
        (["--run", "x", "--revision", "newest"], "leave out --revision, or --run"),
        (["--stop"], "nothing to stop"),
    ],
)
def test_what_cannot_be_evaluated_is_one_sentence(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", *arguments]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1
