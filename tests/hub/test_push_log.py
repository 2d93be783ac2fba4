from __future__ import annotations

from typing import Any

import pytest

from pipeline.core.atomic_io import append_line, read_lines
from pipeline.core.paths import RunFolder
from pipeline.core.settings import Settings
from pipeline.hub import push_log
from pipeline.hub.publisher import pending
from pipeline.hub.push_log import PushLog
from tests.hub.conftest import REPO
from tests.memory import bytes_of_json


def test_the_newest_row_of_a_step_counts(run: RunFolder) -> None:
    log = PushLog(run, "me/parrot")
    log.write(100, push_log.REGISTERED, revision="a" * 12)
    log.write(200, push_log.REGISTERED, revision="b" * 12)
    log.write(100, push_log.PUSHED, revision="a" * 12, commit="c" * 40)
    assert {step: row["state"] for step, row in log.rows().items()} == {100: "pushed", 200: "registered"}
    assert log.rows()[100]["commit"] == "c" * 40


def test_a_row_has_the_names_that_others_rely_on(run: RunFolder) -> None:
    PushLog(run, "me/parrot").write(100, push_log.RETRYING, revision="a" * 12, error="away")
    (row,) = read_lines(run.pushes)
    assert {"time", "step", "state", "revision", "commit", "error"} <= row.keys()


def test_rows_of_another_repo_are_ignored(run: RunFolder) -> None:
    PushLog(run, "local").write(100, push_log.REGISTERED, revision="a" * 12)
    assert PushLog(run, "me/parrot").rows() == {}


def test_a_repeated_fault_is_written_once(run: RunFolder) -> None:
    log = PushLog(run, "me/parrot")
    for _ in range(100):
        log.write(100, push_log.RETRYING, revision="a" * 12, error="away")
    log.write(100, push_log.RETRYING, revision="a" * 12, error="away for another reason")
    assert len(read_lines(run.pushes)) == 2


def test_a_torn_last_line_costs_no_row(run: RunFolder) -> None:
    log = PushLog(run, "me/parrot")
    log.write(100, push_log.REGISTERED, revision="a" * 12)
    with run.pushes.open("ab") as file:
        file.write(b'{"time": 1, "repo": "me/parrot", "step": 100, "sta')
    assert log.rows()[100]["state"] == "registered"
    log.write(100, push_log.UPLOADING, revision="a" * 12)
    assert log.rows()[100]["state"] == "uploading"


def test_a_push_log_that_grows_is_kept_in_memory_once(run: RunFolder) -> None:
    log = PushLog(run, "me/parrot")
    with bytes_of_json() as allocated:
        for step in range(200):
            log.write(step, push_log.REGISTERED, revision="a" * 12, error="x" * 1_000)
            assert len(log.rows()) == step + 1
    assert 200 * 1_000 < allocated[0] < 3 * 200 * 2_000  # one copy of the rows; a copy per append would be 20 MB


def test_a_run_that_never_pushed_has_an_empty_push_log(run: RunFolder) -> None:
    assert PushLog(run, "local").rows() == {}


def test_the_token_never_reaches_the_push_log(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "my secret")
    PushLog(run, "me/parrot").write(100, push_log.REFUSED, revision=None, error="bad header 'Bearer my secret'")
    assert "my secret" not in run.pushes.read_text()
    append_line(run.pushes, {"control": "my secret"})
    assert "my secret" in run.pushes.read_text()


@pytest.mark.parametrize(
    "row",
    [{"step": [1]}, {"step": "1"}, {"step": True}, {"state": 3}, {"revision": [1]}, {"time": "now"}, {"repo": 3}],
)
def test_a_row_that_was_edited_by_hand_is_left_out(run: RunFolder, row: dict[str, Any]) -> None:
    """Else it would end the publisher, and the worker, which asks whether something is pending."""
    log = PushLog(run, REPO)
    log.write(100, "registered", revision="0123456789ab")
    append_line(run.pushes, {"time": 1.0, "repo": REPO, "step": 1, "state": "pushed", "revision": None} | row)
    append_line(run.pushes, {"repo": REPO, "step": 200, "state": "refused"})
    assert list(log.rows()) == [100, 200]
    assert log.rows()[200]["time"] == 0.0
    assert isinstance(pending(Settings(home=run.path.parent.parent, hub_repo=REPO)), bool)
