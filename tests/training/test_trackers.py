from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from accelerate.tracking import GeneralTracker
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pipeline.core.atomic_io import read_lines
from pipeline.core.paths import Home
from pipeline.training.trackers import RunFolderTracker, Trackers
from tests.training.runs import new_run, train_here


class Troubled(GeneralTracker):
    """A third-party service that fails after `num_rows` rows."""

    name = "troubled"
    requires_logging_directory = False
    tracker = None

    def __init__(self, num_rows: int) -> None:
        super().__init__()
        self.rows: list[dict[str, Any]] = []
        self._left = num_rows

    def log(self, values: dict[str, Any], step: int | None = None, **_: Any) -> None:
        if not self._left:
            raise ConnectionError("no route to host")
        self._left -= 1
        self.rows.append({"step": step, **values})


def test_tensorboard_gets_every_metric_that_the_run_folder_gets(home: Home) -> None:
    folder = new_run(home, trackers="tensorboard")
    assert train_here(folder)["state"] == "finished"
    events = EventAccumulator(str(home.path / "tensorboard" / folder.id)).Reload()
    for name in ("train_loss", "eval_loss", "learning_rate"):
        written = {row["step"]: row[name] for row in read_lines(folder.metrics) if name in row}
        assert {event.step: event.value for event in events.Scalars(name)} == pytest.approx(written)
        assert len(written) >= 3


def test_a_failing_tracker_is_dropped_and_the_run_continues(tmp_path: Path) -> None:
    said: list[str] = []
    troubled, sound = Troubled(2), Troubled(100)
    trackers = Trackers(RunFolderTracker(tmp_path / "metrics.jsonl"), [troubled, sound], said.append)
    for step in range(5):
        trackers.log(step, {"train_loss": 4.0 + step, "perplexity": None})
    assert [row["step"] for row in troubled.rows] == [0, 1]
    assert [row["step"] for row in sound.rows] == list(range(5))
    assert sound.rows[4] == {"step": 4, "train_loss": 8.0}
    assert [row["train_loss"] for row in read_lines(tmp_path / "metrics.jsonl")] == [4.0, 5.0, 6.0, 7.0, 8.0]
    assert said == ["troubled is left out from here on (ConnectionError: no route to host)"]


def test_a_tracker_that_cannot_start_does_not_stop_the_run(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    (home.path / "tensorboard").write_text("a file where its folder should be")
    folder = new_run(home, trackers="tensorboard")
    assert train_here(folder)["state"] == "finished"
    assert "tensorboard is left out from here on" in capsys.readouterr().out
    assert len(read_lines(folder.metrics)) == 13


def test_an_error_of_the_run_folder_is_raised(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").mkdir()
    trackers = Trackers(RunFolderTracker(tmp_path / "metrics.jsonl"), [], print)
    with pytest.raises(IsADirectoryError):
        trackers.log(1, {"train_loss": 1.0})
