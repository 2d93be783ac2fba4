"""Requests for training runs: what is written, what is refused, and that only one of several concurrent starts wins."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from pipeline.config.schema import DataConfig
from pipeline.core.atomic_io import append_line, write_json
from pipeline.core.errors import BusyError, InputError
from pipeline.core.paths import Home
from pipeline.core.settings import Settings
from pipeline.hub.push_status import retry_requested_at
from pipeline.jobs.corpora import start_preparing
from pipeline.jobs.job import stop_job
from pipeline.jobs.runs import find_run, retry_push
from pipeline.jobs.views import corpus_view, run_view, run_views
from tests.jobs.conftest import start

pytestmark = pytest.mark.usefixtures("no_worker")


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
        ({"changes": {"learning_rate": 0}}, ["learning_rate", "0.0", "1e-08 to 10"]),
        ({"changes": {"n_emb": 8}}, ["n_emb", "n_embd"]),
        ({"changes": {"trackers": "wandb"}}, ["trackers", "wandb", "pip install wandb"]),
    ],
)
def test_an_invalid_request_is_refused_before_anything_is_written(
    settings: Settings, home: Home, asked: dict, words: list[str]
) -> None:
    with pytest.raises(InputError) as caught:
        start(settings, **asked)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert run_views(home) == []


def test_an_id_that_is_taken_is_refused(settings: Settings) -> None:
    start(settings, run_id="a")
    stop_job(settings, find_run(settings, "a"))
    with pytest.raises(InputError, match=r"Run a exists already.*resume a"):
        start(settings, run_id="a")


def test_a_run_may_wait_for_a_corpus_that_is_being_prepared(settings: Settings, home: Home) -> None:
    start_preparing(settings, config=DataConfig(), corpus_id="new")
    start(settings, corpus="new", run_id="a")
    assert (corpus_view(home, "new").place, run_view(home, "a").place) == (1, 2)


def test_a_push_is_tried_again_where_that_can_help(settings: Settings, home: Home) -> None:
    start(settings, run_id="a")
    on_hub, pushes = replace(settings, hub_repo="me/parrot"), home.run("a").pushes
    hub = {"repo": "me/parrot", "time": 1.0, "revision": "a" * 12}
    for row, words in (
        ({**hub, "step": 100, "state": "pushed"}, "Nothing of run a waits"),
        (
            {**hub, "step": 200, "state": "refused", "error": "It is gone.", "gone": True},
            "cannot be pushed: It is gone",
        ),
        ({**hub, "step": 300, "state": "refused", "error": "It is torn.", "seen": 1.0}, "cannot be pushed: It is torn"),
        (
            {**hub, "step": 400, "state": "refused", "error": "No.", "repo": "me/other"},
            "Step 400 of run a is for me/other",
        ),
    ):
        append_line(pushes, row)
        with pytest.raises(InputError, match=words):
            retry_push(on_hub, "a")
        assert retry_requested_at(home, "me/parrot") == 0
    append_line(pushes, {**hub, "step": 500, "state": "refused", "error": "No."})
    retry_push(on_hub, "a")
    assert retry_requested_at(home, "me/parrot") > 0
    with pytest.raises(InputError, match="none"):
        retry_push(on_hub, "none")


def test_a_validation_split_shorter_than_a_window_is_refused_at_the_request(settings: Settings, home: Home) -> None:
    manifest = {"vocab_size": 4096, "tokens_train": 10**6, "tokens_validation": 127}
    write_json(home.corpus("ready").manifest, manifest)
    with pytest.raises(InputError, match="its 127 validation tokens fill no window of 128"):
        start(settings, run_id="a")
    assert not run_views(home)
    write_json(home.corpus("ready").manifest, {**manifest, "tokens_validation": 128})
    assert start(settings, run_id="a") == "a", "control"
