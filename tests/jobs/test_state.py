"""The state of a job, derived only from its files and its lock."""

from __future__ import annotations

import os
import re

import pytest

from pipeline.config.requests import RunRequest
from pipeline.config.schema import DataConfig
from pipeline.core.atomic_io import locked, read_json, write_json
from pipeline.core.errors import DamagedError
from pipeline.core.paths import Home, JobFolder
from pipeline.core.processes import identify
from pipeline.core.settings import Settings
from pipeline.jobs.corpora import start_preparing
from pipeline.jobs.dry_runs import start_dry_run
from pipeline.jobs.job import resume_job, stop_job
from pipeline.jobs.restoring import resume_interrupted
from pipeline.jobs.runs import find_run
from pipeline.jobs.state import in_order, job_state, process_of
from pipeline.jobs.views import run_views
from tests.jobs.conftest import start

pytestmark = pytest.mark.usefixtures("no_worker")


def test_a_status_that_says_running_without_its_lock_is_interrupted(settings: Settings, home: Home) -> None:
    start(settings, run_id="a")
    folder = home.run("a")
    request_id = (read_json(folder.request) or {})["request_id"]
    write_json(folder.status, {"state": "running", "request_id": request_id, "step": 7})
    assert job_state(folder).state == "interrupted"
    with locked(folder.lock):
        assert job_state(folder).state == "running"
        stop_job(settings, find_run(settings, "a"))
        assert job_state(folder).state == "stopping"


def test_a_file_damaged_by_hand_fails_its_own_job_only(settings: Settings, home: Home) -> None:
    start(settings, run_id="a")
    home.run("b").path.mkdir()
    home.run("b").request.write_text("{")
    assert job_state(home.run("b")).state == "failed"
    assert "request.json" in str(job_state(home.run("b")).error)
    assert {view.run: view.state for view in run_views(home)}["a"] == "queued"


@pytest.mark.parametrize("torn", ['{"state": "runn', "", "[1]"])
def test_a_torn_status_fails_the_job_and_a_resume_keeps_its_request(settings: Settings, home: Home, torn: str) -> None:
    """A status on a full disk is overwritten in place, and a kill can tear it. No clock tells whose it is: that of files
    is coarse, and may have been set back.
    """
    folder = home.run(start(settings, run_id="a"))
    asked = read_json(folder.request) or {}
    folder.status.write_text(torn)
    os.utime(folder.status, (0, 0))
    with locked(folder.lock):
        assert job_state(folder).state == "running"
    state = job_state(folder)
    assert (state.state, state.request) == ("failed", asked)
    assert re.search(r"^a left a damaged status\.json, which .*; resume it to continue", str(state.error))
    resume_job(settings, folder, queue=True)
    again = read_json(folder.request) or {}
    assert again["resume"] and {name: again[name] for name in ("corpus", "preset", "recipe", "kind")} == {
        name: asked[name] for name in ("corpus", "preset", "recipe", "kind")
    }
    assert job_state(folder).state == "queued", "the worker starts it"


def test_a_job_whose_request_is_damaged_is_not_resumed(settings: Settings, home: Home) -> None:
    folder = home.run(start(settings, run_id="a"))
    folder.request.write_text("{")
    with pytest.raises(DamagedError, match=r"request\.json is not JSON"):
        resume_job(settings, folder, queue=True)
    assert folder.request.read_text() == "{"


def request_of(folder: JobFolder) -> dict[str, str]:
    return {"request_id": (read_json(folder.request) or {})["request_id"]}


def test_a_job_is_queued_then_starting_while_its_process_lives(settings: Settings, home: Home) -> None:
    folder = home.run(start(settings))
    assert job_state(folder).state == "queued"
    own = identify(os.getpid())
    write_json(folder.process, {**request_of(folder), "pid": own.pid, "created": own.created})
    assert job_state(folder).state == "starting"
    assert process_of(job_state(folder)) == own
    stop_job(settings, folder)
    assert job_state(folder).state == "stopping"


def test_a_process_that_ended_without_a_status_failed_and_its_exit_is_reported(settings: Settings, home: Home) -> None:
    folder = home.run(start(settings, run_id="a"))
    gone = {**request_of(folder), "pid": 1, "created": 0.0, "ended_at": 1.0}
    for exit_code, words in ((7, "exit status 7"), (-9, "signal 9")):
        write_json(folder.process, {**gone, "exit_code": exit_code})
        state = job_state(folder)
        assert (state.state, words in str(state.error), "resume it" in str(state.error)) == ("failed", True, True)


def test_a_process_that_ended_with_its_worker_is_interrupted_and_not_failed(settings: Settings, home: Home) -> None:
    folder = home.run(start(settings, run_id="a"))
    gone = {**request_of(folder), "pid": 1, "created": 0.0}
    write_json(folder.process, gone)
    assert job_state(folder).state == "interrupted"
    assert "a was ended from outside; resume it" in str(job_state(folder).error)
    assert resume_interrupted(settings) == ["a"]
    assert job_state(folder).state == "queued"
    stop_job(settings, folder)
    write_json(folder.process, {**request_of(folder), "pid": 1, "created": 0.0})
    assert job_state(folder).state == "stopped"


def test_files_of_an_earlier_attempt_are_ignored(settings: Settings, home: Home) -> None:
    folder = home.run(start(settings))
    for path, facts in ((folder.status, {"state": "failed"}), (folder.stop, {}), (folder.process, {"pid": 1})):
        write_json(path, {"request_id": "earlier", **facts})
    assert job_state(folder).state == "queued"


def test_a_failure_is_the_callers_when_its_exit_status_says_so(settings: Settings, home: Home) -> None:
    folder = home.run(start(settings))
    for exit_status, is_callers in ((2, True), (1, False)):
        facts = {"state": "failed", "error": "The bird is 3; give it 4.", "exit_status": exit_status}
        write_json(folder.status, {**request_of(folder), **facts})
        state = job_state(folder)
        assert (state.error, state.is_callers_mistake) == ("The bird is 3; give it 4.", is_callers)


def test_the_queue_holds_runs_preparations_and_dry_runs_in_the_order_they_were_asked_for(
    settings: Settings, home: Home
) -> None:
    start_preparing(settings, config=DataConfig(), corpus_id="new")
    start_dry_run(settings, RunRequest(corpus="ready", preset="tiny", recipe="fast"))
    start(settings, run_id="a")
    assert [(state.kind, state.id) for state in in_order(home)] == [
        ("prepare", "new"),
        ("dry-run", "dry-run"),
        ("train", "a"),
    ]
    stop_job(settings, home.dry_run)
    assert [state.kind for state in in_order(home)] == ["prepare", "train"]
