"""The reading of the home folder that all open pages share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipeline.core.atomic_io import append_line, locked, write_json
from pipeline.core.paths import Home
from pipeline.ui.shared import live_home, recent
from pipeline.ui.shared.live_home import BUSY_SECONDS, IDLE_SECONDS, LiveHome
from tests.homes import write_corpus, write_run


@pytest.fixture
def live(home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[LiveHome]:
    monkeypatch.setattr(recent, "FRESH_SECONDS", 60.0)
    yield LiveHome(home, lambda: "installed")


def test_the_version_changes_with_what_a_page_shows_and_only_then(home: Home, live: LiveHome) -> None:
    run = write_run(home, "calm-kea", state="running")
    versions = []
    with locked(run.lock):
        for change in (
            lambda: None,
            lambda: append_line(run.metrics, {"step": 30, "train_loss": 5.0}),
            lambda: append_line(run.samples, {"step": 30, "prompt_name": "a", "prompt": "b", "text": "c"}),
            lambda: append_line(run.pushes, {"step": 20, "state": "registered", "repo": "me/model"}),
            lambda: run.log.write_text("step 30\n"),
            lambda: write_json(run.status, {"request_id": "calm-kea", "state": "running", "step": 30}),
            lambda: write_json(run.stop, {"request_id": "calm-kea"}),
            lambda: write_run(home, "later-kea"),
            lambda: write_corpus(home, "other"),
        ):
            change()
            versions.append(live.reading(fresh=True).version)
            assert live.reading(fresh=True).version == versions[-1]
    versions.append(live.reading(fresh=True).version)  # its lock is free: it was ended from outside
    assert len(set(versions)) == len(versions)


def test_the_version_changes_with_the_offered_source(home: Home) -> None:
    offered = ["installed"]
    live = LiveHome(home, offered.pop)
    offered.append("pypi")
    versions = [live.reading(fresh=True).version]
    offered.append("installed")
    assert live.reading(fresh=True).version not in versions


def test_pages_poll_often_while_something_runs(home: Home, live: LiveHome) -> None:
    assert live.reading(fresh=True).seconds == IDLE_SECONDS
    run = write_run(home, "calm-kea", state="running")
    with locked(run.lock):
        assert live.reading(fresh=True).seconds == BUSY_SECONDS
    assert live.reading(fresh=True).seconds == IDLE_SECONDS
    append_line(run.pushes, {"step": 20, "state": "retrying", "repo": "me/model"})
    with locked(home.publisher_lock("me/model")):
        assert live.reading(fresh=True).seconds == BUSY_SECONDS
    assert live.reading(fresh=True).seconds == IDLE_SECONDS, "its publisher was killed"


def test_pages_share_a_reading_and_a_click_reads_again(
    home: Home, live: LiveHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, view = [], live_home.home_view
    monkeypatch.setattr(live_home, "home_view", lambda home: (read.append(home), view(home))[1])
    assert live.known() is None
    first = live.reading()
    write_run(home, "calm-kea")
    assert live.reading() is live.known() is first
    assert len(read) == 1
    again = live.reading(fresh=True)
    assert [run.run for run in again.view.runs] == ["calm-kea"]
    assert live.reading() is again, "everybody sees it"
    assert len(read) == 2
