"""Background checkpoints are the same as synchronous ones, and their errors are raised."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.paths import Home
from pipeline.training import checkpoint_writer, checkpoints
from tests.training.runs import ask_to_resume, losses, new_run, train_here, weights

STEPS = (6, 12)


@pytest.fixture
def in_background(monkeypatch: pytest.MonkeyPatch) -> None:
    """Save in the background, as for a model with more than half a gigabyte of training state."""
    monkeypatch.setattr(checkpoint_writer, "AT_ONCE_BYTES", -1)


def test_a_background_checkpoint_holds_the_state_of_its_own_step(
    home: Home, monkeypatch: pytest.MonkeyPatch, in_background: None
) -> None:
    save, may_write = checkpoints.save, threading.Event()

    def late(*args: Any, **options: Any) -> Path:
        """Delay the write until training has continued for at least a step."""
        may_write.wait(timeout=1)
        return save(*args, **options)

    monkeypatch.setattr(checkpoints, "save", late)
    folder, reference = new_run(home), new_run(home, "at-once")
    train_here(folder)
    monkeypatch.setattr(checkpoint_writer, "AT_ONCE_BYTES", 2**40)
    may_write.set()
    train_here(reference)
    for step in STEPS:
        assert weights(folder, step) == weights(reference, step)
    shutil.rmtree(folder.checkpoint(12))
    folder.status.unlink()
    ask_to_resume(folder)
    train_here(folder)
    assert losses(folder) == losses(reference)
    assert weights(folder, 12) == weights(reference, 12)


def test_a_failed_write_ends_the_run_before_the_next_checkpoint(
    home: Home, monkeypatch: pytest.MonkeyPatch, in_background: None
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(checkpoints, "save", fails)
    folder = new_run(home)
    with pytest.raises(PermissionError):
        train_here(folder)
    assert max(losses(folder)) < 12


def test_a_checkpoint_lost_with_a_failed_run_is_logged(
    home: Home, monkeypatch: pytest.MonkeyPatch, in_background: None, capsys: pytest.CaptureFixture[str]
) -> None:
    has_failed = threading.Event()

    def fails(*_: Any, **__: Any) -> None:
        has_failed.wait(timeout=10)
        raise PermissionError(13, "Permission denied")

    def breaks(*_: Any) -> None:
        has_failed.set()
        raise ZeroDivisionError

    monkeypatch.setattr(checkpoints, "save", fails)
    monkeypatch.setattr(
        "pipeline.training.checkpoint_writer.CheckpointWriter.check", lambda self: breaks() if self._pending else None
    )
    with pytest.raises(ZeroDivisionError):
        train_here(new_run(home))
    assert (
        "the checkpoint that was being written is lost as well: [Errno 13] Permission denied" in capsys.readouterr().out
    )
