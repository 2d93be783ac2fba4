"""Checks that no test of an engine leaves a process running, and starts callers that can be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.core.environment import child_environment
from pipeline.core.paths import ROOT
from tests.data.execution.toys import Toy, nothing_left_behind, toys
from tests.waiting import eventually

CALLER = """
import signal, sys
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # it is ignored if a shell started the tests in the background
from pipeline.data.execution import never, open_executor
from tests.data.execution import toys
engine = open_executor(sys.argv[1], 2)
engine.run(toys.hang, toys.toys(Path(sys.argv[2])), toys.is_done, lambda toy: None, never)
"""


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    with nothing_left_behind():
        yield


@pytest.fixture
def start_caller(tmp_path: Path) -> Iterator[Callable[[str], tuple[subprocess.Popen[bytes], list[Toy]]]]:
    """Starts a process whose engine runs two tasks that hang. Returns the process and the two tasks."""
    started: list[subprocess.Popen[bytes]] = []

    def start(engine: str) -> tuple[subprocess.Popen[bytes], list[Toy]]:
        process = subprocess.Popen(
            [sys.executable, "-c", CALLER, engine, str(tmp_path)],
            cwd=ROOT,
            env=child_environment(),
            start_new_session=True,
        )
        started.append(process)
        hanging = toys(tmp_path, 2)
        eventually(lambda: all(toy.pids for toy in hanging), "the start of the tasks")
        return process, hanging

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
