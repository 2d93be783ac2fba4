"""Runs the real page in a process of its own, for tests that use it over HTTP or in a browser."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from pipeline.core.paths import ROOT

START_SECONDS = 300


class Page:
    """`python app.py` on a free loopback port. After `kill` and `start` it has the same port."""

    command: tuple[str, ...] = ("app.py",)
    """Arguments of the Python interpreter."""

    def __init__(self, home: Path, **environment: str) -> None:
        self.home = home
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIPELINE_", "GRADIO_"))}
        environment = {
            **kept,
            "PIPELINE_HOME": str(self.home),
            "GRADIO_SERVER_PORT": str(self.port),
            "PIPELINE_MODELS": "",  # else it would look for the course's model on the Hub
            **self._environment,
        }
        with (self.home / "page.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, *self.command], cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT
            )
        self._wait_until_it_answers()

    @property
    def pid(self) -> int:
        assert self._process is not None, "it was not started"
        return self._process.pid

    def kill(self) -> None:
        """End the process without a shutdown, as a crash does."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._process is not None and self._process.poll() is not None:
                break
            try:
                urllib.request.urlopen(self.url, timeout=5).close()
                return
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
        self.kill()
        raise AssertionError(f"the page did not start: {(self.home / 'page.log').read_text()[-2000:]}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
