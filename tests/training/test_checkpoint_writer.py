"""Checkpoints beside training: the same as those written at once, and what goes wrong with one is heard."""

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
def beside(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for a model of more than half a gigabyte of training state."""
    monkeypatch.setattr(checkpoint_writer, "AT_ONCE_BYTES", -1)


def test_they_hold_the_state_of_their_step_while_training_goes_on(
    home: Home, monkeypatch: pytest.MonkeyPatch, beside: None
) -> None:
    save, held = checkpoints.save, threading.Event()

    def late(*args: Any, **options: Any) -> Path:
        """Written when training has gone on for at least a step."""
        held.wait(timeout=1)
        return save(*args, **options)

    monkeypatch.setattr(checkpoints, "save", late)
    folder, reference = new_run(home), new_run(home, "at-once")
    train_here(folder)
    monkeypatch.setattr(checkpoint_writer, "AT_ONCE_BYTES", 2**40)
    held.set()
    train_here(reference)
    for step in STEPS:
        assert weights(folder, step) == weights(reference, step)
    shutil.rmtree(folder.checkpoint(12))
    folder.status.unlink()
    ask_to_resume(folder)
    train_here(folder)
    assert losses(folder) == losses(reference)
    assert weights(folder, 12) == weights(reference, 12)


def test_one_that_cannot_be_written_ends_the_run_before_the_next(
    home: Home, monkeypatch: pytest.MonkeyPatch, beside: None
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(checkpoints, "save", fails)
    folder = new_run(home)
    with pytest.raises(PermissionError):
        train_here(folder)
    assert max(losses(folder)) < 12


def test_one_that_is_lost_with_the_run_is_said_to_be(
    home: Home, monkeypatch: pytest.MonkeyPatch, beside: None, capsys: pytest.CaptureFixture[str]
) -> None:
    is_asked = threading.Event()

    def fails(*_: Any, **__: Any) -> None:
        is_asked.wait(timeout=10)
        raise PermissionError(13, "Permission denied")

    def breaks(*_: Any) -> None:
        is_asked.set()
        raise ZeroDivisionError

    monkeypatch.setattr(checkpoints, "save", fails)
    monkeypatch.setattr(
        "pipeline.training.checkpoint_writer.Saver.check", lambda self: breaks() if self._pending else None
    )
    with pytest.raises(ZeroDivisionError):
        train_here(new_run(home))
    assert (
        "the checkpoint that was being written is lost as well: [Errno 13] Permission denied" in capsys.readouterr().out
    )
