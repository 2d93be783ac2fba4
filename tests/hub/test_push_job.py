"""The push of a corpus as a job, in a separate process, to the loopback Hub: progress, end, refusal, stop."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.atomic_io import is_locked, read_json, write_json
from pipeline.core.paths import CorpusFolder, Home
from pipeline.jobs.state import job_state
from pipeline.jobs.view_types import PushView
from pipeline.jobs.views import home_view, push_view
from tests.hub.conftest import ROOT
from tests.hub.corpora import CORPUS, prepare_corpus, project
from tests.loopback_hub import TOKEN, LoopbackHub
from tests.waiting import eventually

pytestmark = pytest.mark.slow

NAME = "me/files"
Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def corpus(home: Home, tmp_path: Path) -> CorpusFolder:
    return prepare_corpus(home, project(tmp_path / "project"))


@pytest.fixture
def start(corpus: CorpusFolder, home: Home, hub: LoopbackHub, tmp_path: Path) -> Iterator[Start]:
    """Starts the job as the worker does."""
    started: list[subprocess.Popen[bytes]] = []

    def start_job(**asked: Any) -> subprocess.Popen[bytes]:
        head = {"request_id": f"r{len(started)}", "kind": "push", "requested_at": time.time()}
        write_json(corpus.push.request, {**head, "repo": NAME, **asked})
        with corpus.push.log.open("ab") as log:
            started.append(
                subprocess.Popen(
                    [sys.executable, "-m", "pipeline.hub.push_job", str(corpus.push.path)],
                    cwd=ROOT,
                    env={**os.environ, **hub.environment(tmp_path), "PIPELINE_HOME": str(home.path)},
                    stdout=log,
                    stderr=log,
                )
            )
        return started[-1]

    yield start_job
    for process in started:
        process.kill()
        process.wait()


def seen(corpus: CorpusFolder) -> PushView:
    return push_view(corpus.push)


def test_a_push_ends_with_the_address_of_the_dataset(start: Start, corpus: CorpusFolder, hub: LoopbackHub) -> None:
    assert home_view(Home(corpus.path.parent.parent)).pushes == {}
    assert start().wait(60) == 0
    view = seen(corpus)
    assert (view.corpus, view.state, view.repo, view.error) == (CORPUS, "finished", NAME, None)
    assert view.url == f"{hub.url}/datasets/{NAME}"
    assert "README.md" in hub.commits(f"datasets/{NAME}")[-1].files
    assert "files, " in corpus.push.log.read_text()


def test_a_private_push_makes_a_private_dataset(start: Start, hub: LoopbackHub) -> None:
    assert start(private=True).wait(60) == 0
    assert hub.repos.private == {f"datasets/{NAME}"}


def test_a_refusal_is_the_sentence_of_the_command_line(start: Start, corpus: CorpusFolder, hub: LoopbackHub) -> None:
    hub.edit(f"datasets/{NAME}", "README.md", "precious")
    assert start().wait(60) == 2
    assert seen(corpus).state == "failed"
    assert "holds README.md and was not written by this program" in (seen(corpus).error or "")
    assert seen(corpus).url is None


def test_a_bug_is_reported_without_the_token(
    start: Start, corpus: CorpusFolder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        f"import pipeline.hub.dataset as d\ndef run(self): raise KeyError('Bearer {TOKEN}')\nd._Push.run = run\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")
    assert start().wait(60) == 1
    assert seen(corpus).error == "KeyError: 'Bearer [token]' (traceback in push.log)"
    written = corpus.push.log.read_text() + corpus.push.status.read_text()
    assert "Traceback" in written and TOKEN not in written


def test_a_stop_ends_it_while_the_hub_is_silent(start: Start, corpus: CorpusFolder, hub: LoopbackHub) -> None:
    hub.hang(on="PUT /_lfs", times=1)
    process = start()
    eventually(lambda: any("PUT /_lfs" in request for request in hub.requests))
    assert seen(corpus).state == "running"
    assert "is whole" in (seen(corpus).message or "")
    write_json(corpus.push.stop, {"request_id": "r0"})
    assert process.wait(5) == 0
    assert seen(corpus).state == "stopped"
    assert hub.commits(f"datasets/{NAME}")[1:] == []
    assert start().wait(60) == 0, "and may be asked for again"
    assert seen(corpus).state == "finished"


def test_a_killed_push_is_interrupted_and_says_what_to_do(start: Start, corpus: CorpusFolder, hub: LoopbackHub) -> None:
    hub.hang(on="PUT /_lfs", times=1)
    process = start()
    eventually(lambda: any("PUT /_lfs" in request for request in hub.requests))
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert job_state(corpus.push).state == "interrupted"
    assert "push it again" in (seen(corpus).error or "")
    assert (read_json(corpus.push.request) or {})["repo"] == NAME


@pytest.fixture
def command(corpus: CorpusFolder, home: Home, hub: LoopbackHub, tmp_path: Path) -> Iterator[Start]:
    """Starts `publish --corpus`; its worker leaves when nothing is left to do."""
    started: list[subprocess.Popen[bytes]] = []

    def start_command(*options: str) -> subprocess.Popen[bytes]:
        arguments = ["publish", "--corpus", CORPUS, "--dataset", NAME, *options]
        environment = {**os.environ, **hub.environment(tmp_path), "PIPELINE_HOME": str(home.path)}
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", "pipeline", *arguments],
                cwd=ROOT,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        )
        return started[-1]

    yield start_command
    for process in started:
        process.kill()
        process.wait()
    eventually(lambda: not is_locked(home.worker_lock))


def test_the_command_asks_for_a_job_and_prints_its_result(
    command: Start, corpus: CorpusFolder, hub: LoopbackHub
) -> None:
    out, err = command("--json").communicate(timeout=120)
    assert err == b""
    assert json.loads(out)["url"] == f"{hub.url}/datasets/{NAME}"
    assert seen(corpus).state == "finished", "as a push from the page"
    out, _ = command().communicate(timeout=120)
    assert b"holds corpus code already" in out and b"nothing was uploaded" in out


def test_a_second_command_is_refused_and_an_interrupt_stops_the_push(
    command: Start, corpus: CorpusFolder, hub: LoopbackHub
) -> None:
    hub.hang(on="PUT /_lfs", times=1)
    first = command()
    eventually(lambda: any("PUT /_lfs" in request for request in hub.requests))
    second = command()
    _, err = second.communicate(timeout=60)
    assert (second.returncode, b"is being pushed already" in err) == (2, True), err
    first.send_signal(signal.SIGINT)
    _, err = first.communicate(timeout=60)
    assert (first.returncode, seen(corpus).state) == (1, "stopped"), err
