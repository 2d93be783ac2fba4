"""A home with ready corpora, and real workers on it that start counting jobs instead of trainers."""

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
    for corpus in ("ready", "fails", "dies", "deaf"):
        write_json(home.corpus(corpus).manifest, {"vocab_size": 4096, "tokens_train": 10**6})
    return Settings(home=home.path, limits=Limits(stop_grace_seconds=1))


@pytest.fixture
def home(settings: Settings) -> Home:
    return Home(settings.home)


@pytest.fixture
def start_worker(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Starts a real worker process; requests wake no other one, so that a test decides when there is a worker."""
    monkeypatch.setattr(worker, "wake", lambda settings: None)
    started: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        arguments = [str(settings.home), str(settings.limits.stop_grace_seconds)]
        started.append(subprocess.Popen([sys.executable, "-c", WORKER, *arguments], cwd=ROOT, env=_environment()))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def _environment() -> dict[str, str]:
    return {**os.environ, **dict.fromkeys(SECRETS, "secret of the test")}


def eventually(holds: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.02)


def wait_for_state(home: Home, run_id: str, *states: str, seconds: float = 30) -> str:
    """Wait until the run is in one of `states`; fails with the last one seen."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        state = job_state(home.run(run_id)).state
        if state in states:
            return state
        time.sleep(0.02)
    raise AssertionError(f"{run_id} is {state}, not {states}, after {seconds} s")
