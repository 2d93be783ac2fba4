"""Fixtures: a home with one run, a Hub on loopback, and real publisher processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.core.paths import ROOT, Home, RunFolder
from pipeline.core.settings import Settings
from pipeline.hub.push_log import PushLog
from tests.loopback_hub import TOKEN, LoopbackHub

REPO = "me/parrot"
PATIENCE_SECONDS = 180
HURRIED = """
import sys
from pipeline.hub.uploader import Patience
from pipeline.hub.publisher import Publisher
from pipeline.core.settings import Settings
from pipeline.hub import push_attempt
{seam}
if {attempt_seam!r}:
    push_attempt.COMMAND = (sys.executable, "-c", {attempt_seam!r} + {run_attempt!r})
patience = Patience(
    poll_seconds=0.05, idle_seconds=0.3, first_retry_seconds=0.05, longest_retry_seconds=0.2, answer_seconds={answer},
    attempt_seconds={attempt}, bytes_per_second=1e9
)
Publisher(Settings.from_environment(), patience=patience).run()
"""
RUN_ATTEMPT = "\nimport sys\nfrom pipeline.hub import push_attempt\npush_attempt.main(sys.argv[1:])"


class Publishers:
    """Starts publishers on one home and kills those still running at the end. `start` uses short intervals."""

    def __init__(self, home: Home, hub: LoopbackHub, folder: Path) -> None:
        self.home = home
        self.hub = hub
        self.folder = folder
        self.log = folder / "publisher.log"
        self._started: list[subprocess.Popen[bytes]] = []

    def environment(self, token: str | None = TOKEN) -> dict[str, str]:
        named = {"PIPELINE_HOME": str(self.home.path), "PIPELINE_HUB_REPO": REPO}
        return {**os.environ, **self.hub.environment(self.folder, token), **named}

    def start(
        self,
        *,
        seam: str = "",
        attempt_seam: str = "",
        answer: float = 10.0,
        attempt: float = 60.0,
        token: str | None = TOKEN,
    ) -> subprocess.Popen[bytes]:
        """`seam` and `attempt_seam`: lines of Python that patch the publisher and the process of a push, for example to
        disable a check in a control test.
        """
        program = HURRIED.format(
            seam=seam, attempt_seam=attempt_seam, answer=answer, attempt=attempt, run_attempt=RUN_ATTEMPT
        )
        return self._spawn(["-c", program], self.environment(token))

    def start_module(self, *, token: str | None = TOKEN, **variables: str) -> subprocess.Popen[bytes]:
        """Starts it as the worker does, with the default intervals."""
        return self._spawn(["-m", "pipeline.hub"], {**self.environment(token), **variables})

    def finish(self, **options: object) -> None:
        """Run a publisher until it exits."""
        assert self.start(**options).wait(PATIENCE_SECONDS) == 0, self.log.read_text()  # type: ignore[arg-type]

    def close(self) -> None:
        for process in self._started:
            process.kill()
            process.wait()

    def _spawn(self, arguments: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            process = subprocess.Popen([sys.executable, *arguments], cwd=ROOT, env=environment, stdout=log, stderr=log)
        self._started.append(process)
        return process


@pytest.fixture
def settings(home: Home) -> Settings:
    """Settings without a Hub repo."""
    return Settings(home=home.path)


@pytest.fixture
def hub() -> Iterator[LoopbackHub]:
    with LoopbackHub() as started:
        yield started


@pytest.fixture
def publishers(home: Home, hub: LoopbackHub, tmp_path: Path) -> Iterator[Publishers]:
    started = Publishers(home, hub, tmp_path)
    yield started
    started.close()


def states(run: RunFolder, repo: str = REPO) -> dict[int, str]:
    """Newest state of each step."""
    return {step: row["state"] for step, row in PushLog(run, repo).rows().items()}
