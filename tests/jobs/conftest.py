"""Fixtures: a home with ready corpora, and real workers that start tests.jobs.sleeper instead of the real jobs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.core.atomic_io import write_json
from pipeline.core.paths import ROOT, Home
from pipeline.core.settings import Limits, Settings
from pipeline.jobs import worker
from pipeline.jobs.runs import start_training
from pipeline.jobs.state import job_state
from tests.jobs.sleeper import SECRETS

WORKER = """
import sys
from pathlib import Path
from pipeline.jobs.worker import Worker
from pipeline.core.settings import Limits, Settings
settings = Settings(home=Path(sys.argv[1]), limits=Limits(stop_grace_seconds=float(sys.argv[2])))
Worker(settings, dict.fromkeys(("train", "prepare", "push"), "tests.jobs.sleeper")).run()
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    home = Home(tmp_path / "home")
    for corpus in ("ready", "fails", "dies", "deaf", "loud"):
        write_json(home.corpus(corpus).manifest, {"vocab_size": 4096, "tokens_train": 10**6})
    return Settings(home=home.path, limits=Limits(stop_grace_seconds=1))


@pytest.fixture
def home(settings: Settings) -> Home:
    return Home(settings.home)


@pytest.fixture
def no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests start no worker, so that a test can check what they write."""
    monkeypatch.setattr(worker, "wake", lambda settings: None)


def start(settings: Settings, **asked: object) -> str:
    return start_training(settings, **{"corpus": "ready", "preset": "tiny", "recipe": "accelerate", **asked})  # type: ignore[arg-type]


@pytest.fixture
def start_worker(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts a real worker process. Requests start none, so that the test decides when a worker runs."""
    monkeypatch.setattr(worker, "wake", lambda settings: None)
    started: list[subprocess.Popen[bytes]] = []

    def start(token: str | None = "secret of the test") -> subprocess.Popen[bytes]:
        arguments = [str(settings.home), str(settings.limits.stop_grace_seconds)]
        environment = {**_environment(), "HF_TOKEN": token or "", "HF_TOKEN_PATH": str(settings.home / "no login")}
        started.append(subprocess.Popen([sys.executable, "-c", WORKER, *arguments], cwd=ROOT, env=environment))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def _environment() -> dict[str, str]:
    return {**os.environ, **dict.fromkeys(SECRETS, "secret of the test")}


def wait_for_state(home: Home, run_id: str, *states: str, seconds: float = 300) -> str:
    """Wait until the run is in one of `states`; on timeout, fails with its last state."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        state = job_state(home.run(run_id)).state
        if state in states:
            return state
        time.sleep(0.02)
    raise AssertionError(f"{run_id} is {state}, not {states}, after {seconds} s")
