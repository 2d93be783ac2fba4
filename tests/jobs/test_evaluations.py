from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.artifacts.revision import Revision
from pipeline.config.requests import EvaluateRequest
from pipeline.core.atomic_io import locked, read_json, write_json
from pipeline.core.errors import BusyError, InputError
from pipeline.core.paths import Home
from pipeline.core.settings import Settings
from pipeline.hub.revision_store import RevisionStore
from pipeline.jobs import evaluations, worker
from pipeline.jobs.corpora import delete_corpus
from pipeline.jobs.evaluations import revisions_of, start_evaluating, stop_evaluating
from pipeline.jobs.state import in_order, job_state
from pipeline.jobs.views import evaluation_view, home_view
from tests.jobs.conftest import start

pytestmark = pytest.mark.usefixtures("no_worker", "possible")
REVISION = Revision(
    repo="local", revision="a" * 12, run="calm-kea", step=10, corpus="ready", pushed_at="", eval_loss=3.0, commit=None, path=Path("/r")
)  # fmt: skip
OTHER = replace(REVISION, revision="b" * 12, step=20, eval_loss=4.0)


@pytest.fixture
def possible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluations, "check_possible", lambda: None)


def request_of(home: Home) -> dict[str, Any]:
    return read_json(home.evaluating.request) or {}


def test_a_request_names_the_revisions_and_waits_in_the_queue(settings: Settings, home: Home) -> None:
    start(settings, run_id="first")
    start_evaluating(settings, [REVISION, OTHER], run="calm-kea", samples=3)
    request = EvaluateRequest.of(request_of(home))
    assert [one["path"] for one in request.revisions] == ["/r", "/r"] and request.samples == 3
    assert [state.kind for state in in_order(home)] == ["train", "evaluate"]
    view = evaluation_view(home)
    assert (view.state, view.place, view.run, view.count, view.done) == ("queued", 2, "calm-kea", 2, None)
    assert home_view(home).evaluation == view and home_view(home).is_busy


def test_its_process_gets_no_token(settings: Settings, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret of the test")
    start_evaluating(settings, [REVISION])
    [state] = in_order(home)
    environment = worker.Worker(settings)._environment(state)
    assert "secret of the test" not in environment.values() and environment["PIPELINE_HOME"] == str(home.path)
    assert worker.hub_environment(settings)["HF_TOKEN"] == "secret of the test", "control: a push gets it"


def test_a_second_press_is_not_a_second_job(settings: Settings, home: Home) -> None:
    start_evaluating(settings, [REVISION], run="calm-kea")
    first = request_of(home)
    start_evaluating(settings, [REVISION], run="calm-kea")
    assert request_of(home) == first
    for revisions, samples in (([OTHER], 10), ([REVISION], 3)):
        with pytest.raises(BusyError, match="An evaluation of run calm-kea is queued; wait"):
            start_evaluating(settings, revisions, run="calm-kea", samples=samples)
    assert request_of(home) == first


def test_a_request_id_is_used_once_also_after_later_requests(settings: Settings, home: Home) -> None:
    start_evaluating(settings, [REVISION], request_id="one")
    for name in ("one", "two", "one"):
        stop_if_queued(settings, home)
        start_evaluating(settings, [REVISION], request_id=name)
    assert request_of(home)["request_id"] == "two"


def stop_if_queued(settings: Settings, home: Home) -> None:
    if job_state(home.evaluating).state == "queued":
        stop_evaluating(settings)


def test_a_stop_ends_it_before_it_starts(settings: Settings, home: Home) -> None:
    with pytest.raises(InputError, match="nothing to stop"):
        stop_evaluating(settings)
    start_evaluating(settings, [REVISION])
    stop_evaluating(settings)
    assert evaluation_view(home).state == "stopped"
    with pytest.raises(InputError, match="The evaluation is stopped; there is nothing to stop"):
        stop_evaluating(settings)


def test_one_whose_process_was_killed_is_interrupted_and_can_be_asked_for_again(settings: Settings, home: Home) -> None:
    start_evaluating(settings, [REVISION], request_id="one")
    status = {"request_id": "one", "state": "running", "stage": "write", "done": 3, "total": 180, "number": 1}
    write_json(home.evaluating.status, status)
    with locked(home.evaluating.lock):
        assert (evaluation_view(home).state, evaluation_view(home).done) == ("running", 3)
    view = evaluation_view(home)
    assert view.state == "interrupted" and "start it again" in str(view.error)
    start_evaluating(settings, [REVISION])
    assert (evaluation_view(home).state, evaluation_view(home).done) == ("queued", None)


@pytest.mark.parametrize(
    ("asked", "words"),
    [({"samples": 0}, "samples is 0"), ({"samples": 101}, "samples is 101"), ({"corpus": "gone"}, "gone is not prepared")],
)  # fmt: skip
def test_what_cannot_be_evaluated_requests_nothing(
    settings: Settings, home: Home, asked: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        start_evaluating(settings, [REVISION], **asked)
    assert not home.evaluating.path.exists()


@pytest.mark.parametrize(
    ("corpus", "own", "is_read"),
    [("ready", ["gone"], True), (None, ["gone", "ready"], True), (None, ["gone"], False), ("gone", ["ready"], False)],
)
def test_a_corpus_that_an_evaluation_reads_is_not_deleted(
    settings: Settings, home: Home, corpus: str | None, own: list[str], is_read: bool
) -> None:
    """That of the request, or without one those of its revisions."""
    start_evaluating(settings, [replace(REVISION, corpus=name) for name in own])
    write_json(home.evaluating.request, {**request_of(home), "corpus": corpus})
    if is_read:
        with pytest.raises(BusyError, match="An evaluation reads corpus ready; stop it first"):
            delete_corpus(settings, "ready")
        stop_evaluating(settings)
    delete_corpus(settings, "ready")
    assert not home.corpus("ready").path.exists()


def test_the_revisions_of_a_run_are_chosen(settings: Settings, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    store = RevisionStore(settings)
    earlier = replace(REVISION, revision="c" * 12, run_uid="earlier", step=99, eval_loss=9.0)
    found = [OTHER, replace(earlier, run="other"), REVISION, earlier]
    monkeypatch.setattr(store, "revisions", lambda: found)
    assert [one.step for one in revisions_of(home, store, "calm-kea")] == [10, 20, 99]
    assert revisions_of(home, store, "calm-kea", "newest") == [OTHER]
    assert revisions_of(home, store, "calm-kea", "best") == [REVISION]
    write_json(home.run("calm-kea").config, {"run_uid": "earlier"})
    assert revisions_of(home, store, "calm-kea") == [earlier], "not those of another run of this name"
    home.run("calm-kea").config.unlink()
    with pytest.raises(InputError, match="Run nobody has no pushed revision"):
        revisions_of(home, store, "nobody")
    with pytest.raises(InputError, match="which is 'most'"):
        revisions_of(home, store, "calm-kea", "most")
    monkeypatch.setattr(store, "revisions", lambda: [replace(OTHER, eval_loss=None)])
    with pytest.raises(InputError, match="has a validation loss"):
        revisions_of(home, store, "calm-kea", "best")
