"""The pushes of a run, from its push log."""

from __future__ import annotations

import fcntl
from typing import Any

import pytest

from pipeline.core.atomic_io import append_line
from pipeline.core.paths import Home, RunFolder
from pipeline.hub.push_status import Retrying, write_retrying
from pipeline.jobs.run_pushes import is_pushing, latest_pushes, push_fault, shared_repo


def test_the_newest_row_of_each_step_is_the_push_that_counts(home: Home) -> None:
    folder = home.run("a")
    for step, state in ((100, "registered"), (200, "registered"), (100, "pushed")):
        append_line(folder.pushes, {"step": step, "state": state, "repo": "local"})
    append_line(folder.pushes, {"step": [300], "state": "pushed", "repo": "local"})
    append_line(folder.pushes, {"step": 100, "state": "pushed", "repo": 3})
    assert [(row["step"], row["state"]) for row in latest_pushes(folder)] == [(200, "registered"), (100, "pushed")]


def _log(folder: RunFolder, *rows: dict[str, Any]) -> list[dict[str, Any]]:
    for row in rows:
        append_line(folder.pushes, {"repo": "me/code", **row})
    return latest_pushes(folder)


def test_a_refusal_of_the_newest_step_is_a_fault_until_it_is_pushed(home: Home) -> None:
    refused = {"step": 200, "state": "refused", "error": "no write access", "time": 7.0}
    fault = push_fault(home, _log(home.run("a"), {"step": 100, "state": "pushed"}, refused))
    assert fault is not None
    assert (fault.step, fault.is_refused, fault.error, fault.since, fault.can_retry) == (
        200,
        True,
        "no write access",
        7,
        True,
    )
    assert push_fault(home, _log(home.run("a"), {"step": 200, "state": "pushed"})) is None


@pytest.mark.parametrize("mark", [{"seen": "another size"}, {"gone": True}, {"repo": "local"}])
def test_what_is_damaged_gone_or_of_no_repo_cannot_be_tried_again(home: Home, mark: dict[str, Any]) -> None:
    fault = push_fault(home, _log(home.run("a"), {"step": 1, "state": "refused", **mark}))
    assert fault is not None
    assert not fault.can_retry


def test_an_older_refusal_counts_no_more_once_a_newer_step_is_there(home: Home) -> None:
    rows = _log(home.run("a"), {"step": 1, "state": "refused"}, {"step": 2, "state": "pushed"})
    assert push_fault(home, rows) is None


def test_superseded_rows_tell_nothing_of_the_step_before(home: Home) -> None:
    rows = _log(home.run("a"), {"step": 1, "state": "refused"}, {"step": 2, "state": "superseded"})
    fault = push_fault(home, rows)
    assert fault is not None
    assert fault.step == 1


def test_a_delay_is_a_fault_only_while_the_publisher_tells_of_it(home: Home) -> None:
    rows = _log(home.run("a"), {"step": 3, "state": "retrying"})
    assert push_fault(home, rows) is None
    write_retrying(home, "me/code", Retrying(run="a", step=3, attempts=2, since=1.0, next_at=9.0, error="silent"))
    fault = push_fault(home, rows)
    assert fault is not None
    assert (fault.is_refused, fault.attempts, fault.since, fault.next_at, fault.error) == (False, 2, 1, 9, "silent")


def test_rows_of_a_killed_publisher_are_not_at_work(home: Home) -> None:
    rows = _log(home.run("a"), {"step": 3, "state": "uploading"})
    assert not is_pushing(home, rows)
    with home.publisher_lock("me/code").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert is_pushing(home, rows)


def test_runs_whose_checkpoints_are_in_the_repo_are_told_before_another_one(home: Home) -> None:
    assert shared_repo(home, "me/parrot") is None and shared_repo(home, None) is None
    for name, state, repo in (
        ("alpha", "pushed", "me/parrot"),
        ("beta", "pushed", "me/other"),
        ("gamma", "refused", "me/parrot"),
    ):
        append_line(home.run(name).pushes, {"step": 10, "state": state, "repo": repo})
    assert shared_repo(home, "me/parrot") == (
        "me/parrot has checkpoints of alpha; its main will have those of the new run, and theirs stay in its history."
    )
    for number in range(4):
        append_line(home.run(f"run-{number}").pushes, {"step": 10, "state": "pushed", "repo": "me/parrot"})
    assert "of alpha, run-0, run-1 and 2 more;" in (shared_repo(home, "me/parrot") or "")
