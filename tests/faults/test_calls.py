"""SIGKILL at every single call that changes the disk: open for writing, sync, rename, delete, make a folder.

Writes by torch and safetensors themselves happen between two of these calls; test_kills covers them with random kills.
"""

from __future__ import annotations

import builtins
import io
import os
import shutil
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline.artifacts.checkpoint import checkpoints_of, verify
from pipeline.core.atomic_io import append_line
from pipeline.core.paths import Home, RunFolder
from tests.faults.bugs import saves_in_place
from tests.faults.child import Plant
from tests.faults.conftest import References
from tests.faults.shares import shares
from tests.faults.trials import Outcome, Tally, assert_nothing_lost, assert_same, finish, is_staging
from tests.training.runs import ask_to_resume, copy_home, new_run, status

pytestmark = pytest.mark.slow
INTERVAL = 2
SHORT: dict[str, Any] = {
    "max_steps": 6,
    "warmup_steps": 1,
    "eval_every_steps": 3,
    "checkpoint_every_steps": INTERVAL,
    "eval_windows": 4,
}
"""Three checkpoints of which two stay: the first is deleted when the third exists."""
CALLS = ("fsync", "rename", "replace", "unlink", "remove", "rmdir", "mkdir")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


@dataclass
class KillAt:
    """Counts the calls of its process, logs them to the file `record`, and kills the process at one of them."""

    record: Path
    number: int = 0
    """Number of the call to kill at, from 1; 0 never kills."""
    is_after: bool = False
    """Whether to kill after the call instead of before."""
    bug: Plant | None = None

    def __call__(self) -> None:
        self._calls, self._lock = self.record.open("wb", buffering=0), threading.Lock()
        self._count = 0
        for name in CALLS:
            setattr(os, name, self._counted(name, getattr(os, name), lambda *args, **options: True))
        os.open = self._counted("open", os.open, lambda path, flags, *args, **options: bool(flags & WRITING))
        writes = self._counted("open", open, lambda file, mode="r", *args, **options: mode.strip("bt") != "r")
        io.open = builtins.open = writes
        if self.bug is not None:
            self.bug()

    def _counted(self, name: str, call: Callable[..., Any], counts: Callable[..., bool]) -> Callable[..., Any]:
        def counted(*args: Any, **options: Any) -> Any:
            if not counts(*args, **options):
                return call(*args, **options)
            is_target = self._count_one(f"{name} {args[0]}")
            if is_target and not self.is_after:
                os.kill(os.getpid(), signal.SIGKILL)
            try:
                return call(*args, **options)
            finally:
                if is_target:
                    os.kill(os.getpid(), signal.SIGKILL)

        return counted

    def _count_one(self, what: str) -> bool:
        with self._lock:
            self._count += 1
            self._calls.write(f"{what}\n".encode())
            return self._count == self.number


def short_run(home: Home, run_id: str = "run") -> RunFolder:
    """A run whose checkpoints count as published at once, so that old ones are deleted."""
    folder = new_run(home, run_id, **SHORT)
    for step in range(0, SHORT["max_steps"] + 1, INTERVAL):
        append_line(folder.pushes, {"step": step, "state": "registered"})
    return folder


def calls_of(folder: RunFolder, bug: Plant | None = None) -> list[str]:
    """Name and first argument of each counted call of a whole run."""
    record = folder.path / "calls"
    assert finish(folder, KillAt(record, bug=bug)) == 0, folder.log.read_text()
    return record.read_text().splitlines()


@pytest.fixture(scope="module")
def calls(template: Home, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = short_run(copy_home(template, tmp_path_factory.mktemp("counted") / "home"))
    found = calls_of(folder)
    assert [path.name for path in checkpoints_of(folder)] == ["step-00000004", "step-00000006"]
    assert any(call.endswith(".removed-step-00000002") for call in found)
    return found


def kill_and_resume(folder: RunFolder, kill: KillAt, undisturbed: Outcome, tally: Tally) -> None:
    assert finish(folder, kill) == -signal.SIGKILL, folder.log.read_text()
    tally.counts["kills"] += 1
    tally.counts["of these inside a save"] += is_staging(folder)
    tally.counts["inside a removal"] += any(folder.checkpoints.glob(".removed-*"))
    assert_nothing_lost(folder, interval=INTERVAL)
    if status(folder).get("state") != "finished":
        ask_to_resume(folder)
        assert finish(folder, kill.bug) == 0, folder.log.read_text()
    assert_same(folder, undisturbed)
    for path in checkpoints_of(folder):
        verify(path)
    tally.counts["bit-identical runs"] += 1


@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
@shares("max_kills", 2, 10_000)
def test_a_run_killed_at_any_disk_call_resumes_bit_identically(
    home: Home, undisturbed: References, calls: list[str], tally: Tally, max_kills: int, is_after: bool
) -> None:
    expected = undisturbed(**SHORT).outcome
    tally.counts["calls"] = len(calls)
    for number in range(1, len(calls) + 1, max(1, len(calls) // max_kills)):
        folder = short_run(home, f"run-{number}")
        kill_and_resume(folder, KillAt(folder.path / "calls", number, is_after), expected, tally)
        shutil.rmtree(folder.path)


def test_saving_in_place_is_detected(home: Home, undisturbed: References) -> None:
    """Negative control: killed between writing the weights and the optimizer state."""
    calls = calls_of(short_run(home, "counted"), saves_in_place)
    number = next(n for n, call in enumerate(calls, 1) if call.endswith("step-00000004/training"))
    folder = short_run(home)
    kill = KillAt(folder.path / "calls", number, bug=saves_in_place)
    with pytest.raises(AssertionError, match="step-00000004 of run run is damaged: it has no manifest"):
        kill_and_resume(folder, kill, undisturbed(**SHORT).outcome, Tally("control"))
