"""A home with one run, a Hub on loopback, and real publisher processes between them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.core.paths import ROOT, Home, RunFolder
from pipeline.core.settings import Settings
from pipeline.hub.push_log import Ledger
from tests.loopback_hub import TOKEN, LoopbackHub

REPO = "me/parrot"
HURRIED = """
import sys
from pipeline.hub.uploader import Patience
from pipeline.hub.publisher import Publisher
from pipeline.core.settings import Settings
{seam}
patience = Patience(
    poll_seconds=0.05, idle_seconds=0.3, first_retry_seconds=0.05, longest_retry_seconds=0.2, answer_seconds={answer}
)
Publisher(Settings.from_environment(), patience=patience, again={again}).run()
"""


def eventually(holds: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait until `holds`; fails when it does not come true."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.02)


class Publishers:
    """Starts publishers on one home, impatient ones unless told otherwise, and kills what is left at the end."""

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
        self, *, seam: str = "", answer: float = 10.0, again: bool = False, token: str | None = TOKEN
    ) -> subprocess.Popen[bytes]:
        """`seam`: lines that take something out of the publisher, for a control."""
        return self._spawn(["-c", HURRIED.format(seam=seam, answer=answer, again=again)], self.environment(token))

    def start_module(self, *, token: str | None = TOKEN) -> subprocess.Popen[bytes]:
        """As the worker does."""
        return self._spawn(["-m", "pipeline.hub"], self.environment(token))

    def finish(self, **options: object) -> None:
        """Run one to its end."""
        assert self.start(**options).wait(60) == 0, self.log.read_text()  # type: ignore[arg-type]

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
    """Nothing leaves this machine."""
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
    return {step: row["state"] for step, row in Ledger(run, repo).rows().items()}
