"""Processes are recognised by pid and creation time, and ended with their children."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from pipeline.core.processes import ProcessId, identify, spawn
from tests.waiting import eventually

pytestmark = pytest.mark.slow


def test_a_process_is_recognised_and_another_with_its_pid_is_not() -> None:
    own = identify(os.getpid())
    assert own.is_alive()
    assert not ProcessId(own.pid, own.created - 100).is_alive(), "an earlier process with this pid"


def test_a_signal_reaches_what_the_process_has_started(tmp_path: Path) -> None:
    (tmp_path / "starts.py").write_text(
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(child.pid, flush=True)\n"
        "child.wait()\n"
    )
    log = tmp_path / "log"
    child = spawn("starts", [], log=log, environment={**os.environ, "PYTHONPATH": str(tmp_path)})
    eventually(lambda: log.read_text().strip().isdigit())
    grandchild = identify(int(log.read_text()))
    assert grandchild.is_alive()
    identify(child.pid).signal_group(signal.SIGKILL)
    child.wait(30)
    eventually(lambda: not grandchild.is_alive())


def test_a_detached_process_writes_its_log_and_has_a_session_of_its_own(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    (tmp_path / "says.py").write_text("import os, sys; print(sys.argv[1], os.getsid(0) == os.getpid())")
    child = spawn("says", ["hello"], log=log, environment=environment)
    assert child.wait(30) == 0
    assert log.read_text().strip() == "hello True"
