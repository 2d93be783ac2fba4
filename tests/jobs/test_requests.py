"""Start, stop, resume: what is written, what is refused, and that of two at once one is first."""

from __future__ import annotations

import re
import sys
import threading
from pathlib import Path

import pytest

from pipeline.config.schema import DataConfig, ExecutionConfig
from pipeline.core.atomic_io import locked, read_json, write_json
from pipeline.core.errors import BusyError, InputError, PipelineError
from pipeline.core.paths import Home
from pipeline.core.settings import Settings
from pipeline.jobs import corpus_requests, run_requests, worker
from pipeline.jobs.state import in_order, job_state, pushes_in_order
from pipeline.jobs.views import corpus_view, push_view, run_view, run_views


@pytest.fixture(autouse=True)
def no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests look at what is written before any worker comes."""
    monkeypatch.setattr(worker, "wake", lambda settings: None)


def start(settings: Settings, **asked: object) -> str:
    return run_requests.start_training(
        settings, **{"corpus": "ready", "preset": "tiny", "recipe": "accelerate", **asked}
    )  # type: ignore[arg-type]


def test_a_run_gets_a_name_people_can_say(settings: Settings, home: Home) -> None:
    run_id = start(settings)
    assert run_id.count("-") == 1
    view = run_view(home, run_id)
    assert (view.state, view.corpus, view.preset, view.recipe, view.place) == (
        "queued",
        "ready",
        "tiny",
        "accelerate",
        1,
    )


def test_a_second_start_is_refused_while_one_trains_and_names_it(settings: Settings) -> None:
    start(settings, run_id="first")
    with pytest.raises(BusyError, match=r"Run first .*--queue"):
        start(settings, run_id="second")
    assert start(settings, run_id="second", queue=True) == "second"


def test_of_many_starts_at_once_one_wins(settings: Settings, home: Home) -> None:
    barrier, outcomes = threading.Barrier(8), []

    def ask(number: int) -> None:
        barrier.wait()
        try:
            outcomes.append(start(settings, run_id=f"r{number}"))
        except BusyError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [outcome for outcome in outcomes if isinstance(outcome, str)]
    assert len(winners) == 1
    assert len(run_views(home)) == 1
    assert all(winners[0] in str(outcome) for outcome in outcomes if isinstance(outcome, BusyError))


def test_a_repeated_request_id_returns_the_first_answer(settings: Settings, home: Home) -> None:
    first = start(settings, request_id="press-1")
    assert start(settings, request_id="press-1") == first
    assert len(run_views(home)) == 1
    assert start(settings, request_id="press-2", queue=True) != first


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"corpus": "none"}, ["'none'", "ready", "prepare"]),
        ({"preset": "huge"}, ["preset", "'huge'", "tiny"]),
        ({"recipe": "sgd"}, ["recipe", "'sgd'", "accelerate"]),
        ({"run_id": "../etc"}, ["run id", "'../etc'"]),
        ({"changes": {"learning_rate": 0}}, ["learning_rate", "0.0", "above 0"]),
        ({"changes": {"n_emb": 8}}, ["n_emb", "n_embd"]),
        ({"changes": {"trackers": "wandb"}}, ["trackers", "wandb", "pip install wandb"]),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    settings: Settings, home: Home, asked: dict, words: list[str]
) -> None:
    with pytest.raises(InputError) as caught:
        start(settings, **asked)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert run_views(home) == []


def test_an_id_that_is_taken_is_refused(settings: Settings) -> None:
    start(settings, run_id="a")
    run_requests.stop_run(settings, "a")
    with pytest.raises(InputError, match=r"Run a exists already.*resume a"):
        start(settings, run_id="a")


def test_a_run_may_wait_for_a_corpus_that_is_being_prepared(settings: Settings, home: Home) -> None:
    corpus_requests.start_preparing(settings, config=DataConfig(), corpus_id="new")
    start(settings, corpus="new", run_id="a")
    assert (corpus_view(home, "new").place, run_view(home, "a").place) == (1, 2)


def test_a_relative_path_is_kept_as_the_one_it_meant(
    settings: Settings, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "code.py").write_text("import pandas")
    monkeypatch.chdir(tmp_path)
    corpus_requests.start_preparing(settings, config=DataConfig(source="files:code.py"), corpus_id="new")
    assert (read_json(home.corpus("new").request) or {})["config"]["source"] == f"files:{tmp_path / 'code.py'}"


def test_a_source_that_is_not_there_is_refused_at_once(settings: Settings, home: Home) -> None:
    for source in ("files:/not/there", "nonsense"):
        with pytest.raises(PipelineError, match=source.removeprefix("files:")):
            corpus_requests.start_preparing(settings, config=DataConfig(source=source), corpus_id="new")
    assert not home.corpus("new").path.exists()


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ("s3://bucket/parts", "needs s3fs; install it with `pip install s3fs`"),
        ("s3:/bucket/parts", "write an address as s3://..."),
        ("nowhere://a", "nothing here knows nowhere://..."),
    ],
)
def test_parts_that_cannot_be_written_are_refused_at_once(
    settings: Settings, home: Home, monkeypatch: pytest.MonkeyPatch, parts: str, words: str
) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)  # as if it was not installed, also where it is
    with pytest.raises(InputError, match=re.escape(words)):
        corpus_requests.start_preparing(
            settings, config=DataConfig(), corpus_id="new", workforce=ExecutionConfig(parts=parts)
        )
    assert not home.corpus("new").path.exists()


@pytest.mark.parametrize("parts", ["shared", "file:///mnt/shared"])
def test_parts_are_kept_as_the_place_they_meant(
    settings: Settings, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: str
) -> None:
    monkeypatch.chdir(tmp_path)
    corpus_requests.start_preparing(
        settings, config=DataConfig(), corpus_id="new", workforce=ExecutionConfig(parts=parts)
    )
    kept = (read_json(home.corpus("new").request) or {})["workforce"]["parts"]
    assert kept == (parts if "://" in parts else str(tmp_path / parts))


def test_a_tokenizer_that_is_not_there_is_refused_at_once(settings: Settings, home: Home) -> None:
    with pytest.raises(InputError, match=r"\./missing"):
        corpus_requests.start_preparing(settings, config=DataConfig(tokenizer="./missing"), corpus_id="new")
    assert not home.corpus("new").path.exists()


def test_a_stopped_preparation_goes_on_with_what_is_asked_now(settings: Settings, home: Home) -> None:
    corpus_requests.start_preparing(settings, config=DataConfig(), corpus_id="new")
    with pytest.raises(BusyError, match="new is being prepared already"):
        corpus_requests.start_preparing(settings, config=DataConfig(), corpus_id="new")
    corpus_requests.stop_corpus(settings, "new")
    assert corpus_view(home, "new").state == "stopped"
    corpus_requests.start_preparing(settings, config=DataConfig(vocab_size=300), corpus_id="new")
    assert corpus_view(home, "new").state == "queued"
    assert (read_json(home.corpus("new").request) or {})["config"]["vocab_size"] == 300


def test_a_ready_corpus_is_not_made_again(settings: Settings) -> None:
    with pytest.raises(InputError, match="ready exists already"):
        corpus_requests.start_preparing(settings, config=DataConfig(), corpus_id="ready")


def test_only_what_ended_can_be_resumed_and_only_what_runs_can_be_stopped(settings: Settings, home: Home) -> None:
    start(settings, run_id="a")
    with pytest.raises(InputError, match="a is queued"):
        run_requests.resume_run(settings, "a")
    run_requests.stop_run(settings, "a")
    with pytest.raises(InputError, match="a is stopped; there is nothing to stop"):
        run_requests.stop_run(settings, "a")
    run_requests.resume_run(settings, "a", request_id="again")
    run_requests.resume_run(settings, "a", request_id="again")
    assert job_state(home.run("a")).state == "queued"
    with pytest.raises(InputError, match="There is no run 'b'; there is a"):
        run_requests.stop_run(settings, "b")


def test_a_status_that_says_running_without_its_lock_is_interrupted(settings: Settings, home: Home) -> None:
    start(settings, run_id="a")
    folder = home.run("a")
    request_id = (read_json(folder.request) or {})["request_id"]
    write_json(folder.status, {"state": "running", "request_id": request_id, "step": 7})
    assert job_state(folder).state == "interrupted"
    with locked(folder.lock):
        assert job_state(folder).state == "running"
        run_requests.stop_run(settings, "a")
        assert job_state(folder).state == "stopping"


def test_a_start_repeated_after_its_run_was_resumed_still_makes_no_second_run(settings: Settings, home: Home) -> None:
    first = start(settings, request_id="press-1")
    run_requests.stop_run(settings, first)
    run_requests.resume_run(settings, first, request_id="go-on")
    assert start(settings, request_id="press-1") == first
    assert len(run_views(home)) == 1


def test_a_damaged_config_hides_no_other_run(settings: Settings, home: Home) -> None:
    start(settings, run_id="a")
    start(settings, run_id="b", queue=True)
    home.run("b").config.write_text("{")
    home.corpus("ready").manifest.with_name("label.json").write_text("{")
    assert {view.run: view.config for view in run_views(home)} == {"a": None, "b": None}
    home.run("b").request.write_text("{")
    assert start(settings, request_id="press-1", queue=True) not in ("a", "b")


def test_a_file_damaged_by_hand_fails_its_own_job_only(settings: Settings, home: Home) -> None:
    start(settings, run_id="a")
    home.run("b").path.mkdir()
    home.run("b").request.write_text("{")
    assert job_state(home.run("b")).state == "failed"
    assert "request.json" in str(job_state(home.run("b")).error)
    assert {view.run: view.state for view in run_views(home)}["a"] == "queued"


def push(settings: Settings, corpus_id: str = "ready", repo: str = "me/files") -> None:
    corpus_requests.start_pushing(settings, corpus_id=corpus_id, repo=repo)


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_of_the_test")


def test_a_push_waits_and_is_stopped(settings: Settings, home: Home, token: None) -> None:
    corpus_requests.start_pushing(settings, corpus_id="ready", repo="me/files", private=True)
    view = push_view(home.corpus("ready"))
    assert view is not None
    assert (view.corpus, view.state, view.repo, view.private, view.url) == ("ready", "queued", "me/files", True, None)
    with pytest.raises(BusyError, match="ready is being pushed already"):
        push(settings)
    corpus_requests.stop_pushing(settings, "ready")
    push(settings, repo="me/others")
    assert [state.request["repo"] for state in pushes_in_order(home)] == ["me/others"]
    assert in_order(home) == [], "nothing that trains or prepares waits for it"


def test_a_corpus_is_not_deleted_while_it_is_pushed(settings: Settings, home: Home, token: None) -> None:
    push(settings)
    with pytest.raises(BusyError, match="ready is being pushed; stop that first"):
        corpus_requests.delete_corpus(settings, "ready")
    corpus_requests.stop_pushing(settings, "ready")
    corpus_requests.delete_corpus(settings, "ready")
    assert not home.corpus("ready").path.exists()


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"repo": "files"}, "dataset is 'files'; write it as owner/name"),
        ({"repo": ""}, "dataset is ''; write it as owner/name"),
        ({"repo": "<b>me</b>"}, "dataset is '<b>me</b>'; write it as owner/name"),
        ({"repo": "me/../files"}, "write it as owner/name"),
        ({"corpus_id": "none"}, "There is no corpus 'none'"),
        ({"corpus_id": "new"}, "Corpus new is queued; prepare it to its end"),
    ],
)
def test_a_push_that_cannot_be_is_refused_at_once(
    settings: Settings, home: Home, token: None, asked: dict[str, str], words: str
) -> None:
    corpus_requests.start_preparing(settings, config=DataConfig(), corpus_id="new")
    with pytest.raises(InputError, match=re.escape(words)):
        push(settings, **asked)
    assert pushes_in_order(home) == []


def test_a_push_without_a_token_is_refused_at_once(
    settings: Settings, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with pytest.raises(PipelineError, match="HF_TOKEN is not set; set it to a token that may write to the repo"):
        push(settings)
    assert pushes_in_order(home) == []
