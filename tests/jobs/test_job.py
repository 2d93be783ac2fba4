"""Stopping and resuming a job of any kind: what is written and what is refused."""

from __future__ import annotations

import pytest

from pipeline.core.errors import InputError
from pipeline.core.paths import Home
from pipeline.core.settings import Settings
from pipeline.jobs.job import resume_job, stop_job
from pipeline.jobs.runs import find_run
from pipeline.jobs.state import job_state
from pipeline.jobs.views import run_views
from tests.jobs.conftest import start

pytestmark = pytest.mark.usefixtures("no_worker")


def test_only_what_ended_can_be_resumed_and_only_what_runs_can_be_stopped(settings: Settings, home: Home) -> None:
    start(settings, run_id="a")
    with pytest.raises(InputError, match="a is queued"):
        resume_job(settings, find_run(settings, "a"))
    stop_job(settings, find_run(settings, "a"))
    with pytest.raises(InputError, match="a is stopped; there is nothing to stop"):
        stop_job(settings, find_run(settings, "a"))
    resume_job(settings, find_run(settings, "a"), request_id="again")
    resume_job(settings, find_run(settings, "a"), request_id="again")
    assert job_state(home.run("a")).state == "queued"
    with pytest.raises(InputError, match="There is no run 'b'; there is a"):
        stop_job(settings, find_run(settings, "b"))


def test_a_start_repeated_after_its_run_was_resumed_still_makes_no_second_run(settings: Settings, home: Home) -> None:
    first = start(settings, request_id="press-1")
    stop_job(settings, find_run(settings, first))
    resume_job(settings, find_run(settings, first), request_id="go-on")
    assert start(settings, request_id="press-1") == first
    assert len(run_views(home)) == 1


def test_a_folder_without_a_request_is_named_as_what_it_is(settings: Settings, home: Home) -> None:
    """As a run leaves it that went on writing after its home was moved away."""
    start(settings, run_id="a")
    home.run("pg").checkpoints.mkdir(parents=True)
    with pytest.raises(InputError) as caught:
        find_run(settings, "pg")
    assert str(caught.value) == (
        f"{home.run('pg').path} has no request.json, so it is no run; bring the rest of it back from where it was moved, "
        "or delete that folder. There is a."
    )
    with pytest.raises(InputError, match="There is no run 'b'; there is a\\."):
        find_run(settings, "b")
