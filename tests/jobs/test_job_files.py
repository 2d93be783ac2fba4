"""Values of a wrong type in the files of one job: it is shown as failed, and no other job is affected."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from pipeline.cli import app
from pipeline.config.schema import DataConfig
from pipeline.core.atomic_io import read_json, write_json
from pipeline.core.errors import DamagedError
from pipeline.core.paths import Home, JobFolder
from pipeline.core.settings import Settings
from pipeline.jobs import job_files
from pipeline.jobs.corpora import start_preparing
from pipeline.jobs.job import stop_job
from pipeline.jobs.runs import check_training
from pipeline.jobs.state import in_order, job_state
from pipeline.jobs.views import home_view
from pipeline.jobs.worker import Worker
from tests.homes import write_corpus
from tests.jobs.conftest import start

pytestmark = pytest.mark.usefixtures("no_worker")

WRONG: tuple[Any, ...] = ("x", [1], {"a": 1}, 10**30, -1, 1.5, True, math.inf, None)


@pytest.fixture
def whole(settings: Settings, home: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home with one whole run and one whole corpus."""
    monkeypatch.setenv("PIPELINE_HOME", str(settings.home))
    start(settings, run_id="whole")
    write_corpus(home, "whole")
    return home


def own(folder: JobFolder) -> dict[str, Any]:
    return {"request_id": (read_json(folder.request) or {})["request_id"], "state": "finished"}


def check_listings(whole: Home, capsys: pytest.CaptureFixture[str]) -> None:
    """Both listings, for people and programs, show the whole jobs as always."""
    for command, name, state in (("runs", "run", "queued"), ("corpora", "corpus", "finished")):
        assert app.main([command]) == 0
        capsys.readouterr()
        assert app.main([command, "--json"]) == 0
        shown = {row[name]: row["state"] for row in json.loads(capsys.readouterr().out)}
        assert shown["whole"] == state


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"requested_at": "x"}, "requested_at 'x'"),
        ({"changes": 3}, "changes 3"),
        ({"config": {"source": []}}, "config.source []"),
    ],
)
def test_a_request_with_a_wrong_type_fails_its_job_and_names_the_value(
    whole: Home, settings: Settings, capsys: pytest.CaptureFixture[str], change: dict[str, Any], fault: str
) -> None:
    folder = whole.run(start(settings, run_id="torn", queue=True))
    write_json(folder.request, {**(read_json(folder.request) or {}), **change})
    state = job_state(folder)
    assert (state.state, state.error) == (
        "failed",
        f"{folder.request} has {fault}; correct it, or restore it from a copy.",
    )
    assert [other.id for other in in_order(whole)] == ["whole"]
    check_listings(whole, capsys)


@pytest.mark.parametrize("change", [{"step": "many"}, {"train_loss": []}, {"state": "dancing"}, {"error": 3}])
def test_a_status_with_a_wrong_type_fails_its_job_which_can_be_resumed(
    whole: Home, settings: Settings, capsys: pytest.CaptureFixture[str], change: dict[str, Any]
) -> None:
    folder = whole.run(start(settings, run_id="torn", queue=True))
    write_json(folder.status, {**own(folder), **change})
    state = job_state(folder)
    (name, value), *_ = change.items()
    assert state.state == "failed"
    assert state.error == (
        f"torn left a damaged status.json, which has {name} {value!r}; resume it to continue from its last complete step."
    )
    assert state.request["preset"] == "tiny"
    check_listings(whole, capsys)


@pytest.mark.parametrize("change", [{"tokens_train": "x"}, {"files_train": []}, {"config": 3}, {"vocab_size": None}])
def test_a_manifest_with_a_wrong_type_fails_its_corpus(
    whole: Home, capsys: pytest.CaptureFixture[str], change: dict[str, Any]
) -> None:
    write_corpus(whole, "torn")
    path = whole.corpus("torn").manifest
    write_json(path, {**(read_json(path) or {}), **change})
    view = next(view for view in home_view(whole).corpora if view.corpus == "torn")
    (name, value), *_ = change.items()
    error = f"{path} has {name} {value!r}; delete corpus torn and prepare it again."
    assert (view.state, view.error) == ("failed", error)
    check_listings(whole, capsys)
    with pytest.raises(DamagedError, match="delete corpus torn and prepare it again"):
        check_training(whole, "torn", "tiny", "fast", {})


def test_a_torn_manifest_is_no_finished_scan(whole: Home) -> None:
    whole.corpus("whole").manifest.write_text("{")
    view = next(view for view in home_view(whole).corpora if view.corpus == "whole")
    assert (view.state, "manifest.json is not JSON" in str(view.error)) == ("failed", True)


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_no_value_of_any_file_ends_the_listings_or_the_queue(
    whole: Home, settings: Settings, capsys: pytest.CaptureFixture[str], wrong: Any
) -> None:
    """Each known field in turn; and instead of each object, the value itself."""
    run, corpus = whole.run(start(settings, run_id="torn", queue=True)), whole.corpus("torn")
    start_preparing(settings, config=DataConfig(), corpus_id="torn")
    files = [
        (run.request, job_files.REQUEST, read_json(run.request)),
        (run.status, job_files.STATUS, own(run)),
        (run.process, job_files.PROCESS, {**own(run), "pid": 1, "created": 0.0}),
        (run.stop, job_files.STOP, own(run)),
        (run.config, job_files.RUN_CONFIG, {}),
        (corpus.request, job_files.REQUEST, read_json(corpus.request)),
        (corpus.status, job_files.STATUS, {**own(corpus), "state": "running"}),
        (corpus.manifest, job_files.MANIFEST, read_json(whole.corpus("whole").manifest)),
    ]
    for path, types, values in files:
        before = path.read_bytes() if path.exists() else None
        for name in types:
            path.write_text(json.dumps({**(values or {}), name: wrong}))
            home_view(whole)
            assert "whole" in {state.id for state in in_order(whole)}
        path.write_text(json.dumps(wrong))
        check_listings(whole, capsys)
        path.unlink() if before is None else path.write_bytes(before)


def test_the_worker_goes_on_with_other_jobs_when_a_stop_or_a_process_is_damaged(
    whole: Home, settings: Settings
) -> None:
    folder = whole.run("whole")
    stop_job(settings, folder)
    write_json(folder.stop, {**(read_json(folder.stop) or {}), "requested_at": "x"})
    write_json(folder.process, {"request_id": own(folder)["request_id"], "pid": "x"})
    worker = Worker(settings)
    worker._enforce_stop(job_state(folder))
    assert job_state(folder).state == "queued"


def test_a_damaged_request_does_not_refuse_other_requests(whole: Home, settings: Settings) -> None:
    folder = whole.run(start(settings, run_id="torn", queue=True))
    write_json(folder.request, {**(read_json(folder.request) or {}), "earlier_ids": 3})
    assert start(settings, request_id="press-1", queue=True) not in ("whole", "torn")
