from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from pipeline.core.atomic_io import read_json, write_json
from pipeline.core.errors import InputError
from pipeline.core.paths import Home
from pipeline.core.settings import Settings
from pipeline.jobs import evaluations, worker
from pipeline.ui.shared.engine import Engine
from pipeline.ui.train import run_page
from pipeline.ui.train.evaluation_card import EvaluationCard
from pipeline.ui.train.run_page import RunPage
from pipeline.ui.train.tab import ClientState
from tests.generation.models import push
from tests.homes import write_run
from tests.ui.conftest import request_of

HERE, AWAY = request_of("127.0.0.1:7860"), request_of("example.org")
SHOWN = ClientState(run="small-otter")


@pytest.fixture
def card(settings: Settings, home: Home, monkeypatch: pytest.MonkeyPatch) -> EvaluationCard:
    monkeypatch.setattr(worker, "wake", lambda settings: None)
    write_run(home, "small-otter")
    made = EvaluationCard(Engine(settings))
    with gr.Blocks():
        made.build()
    return made


def test_the_owner_evaluates_the_run_that_is_shown_and_stops_it(card: EvaluationCard, home: Home) -> None:
    assert "Run small-otter has no pushed revision" in card.begin_evaluating("newest", SHOWN, HERE)
    uid = (read_json(home.run("small-otter").config) or {}).get("run_uid")
    steps = [push(card.engine.settings, step, run_uid=uid) for step in (10, 20)]
    push(card.engine.settings, 30, run_uid="an earlier run of this name")
    assert card.begin_evaluating("all", SHOWN, HERE) == ""
    request = read_json(home.evaluating.request) or {}
    assert [one["revision"] for one in request["revisions"]] == [one.revision for one in steps]
    assert card.end_evaluating(HERE) == ""
    assert "nothing to stop" in card.end_evaluating(HERE)


def test_a_visitor_evaluates_and_stops_nothing(card: EvaluationCard, home: Home) -> None:
    push(card.engine.settings, 10)
    assert "owner" in card.begin_evaluating("newest", SHOWN, AWAY)
    assert not home.evaluating.path.exists()
    assert card.begin_evaluating("newest", SHOWN, HERE) == ""
    assert "owner" in card.end_evaluating(AWAY)
    assert not home.evaluating.stop.exists()


@pytest.mark.parametrize("shown", [None, ClientState(run="nobody"), ClientState(run="../x")])
def test_what_is_no_run_is_one_sentence(card: EvaluationCard, shown: Any) -> None:
    assert "notice" in card.begin_evaluating("newest", shown, HERE)


def test_where_nothing_can_be_confined_the_press_says_so(
    card: EvaluationCard, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise InputError(
            "The tasks need seaborn; install them: pip install -c constraints.txt -r requirements-evaluate.txt."
        )

    push(card.engine.settings, 10)
    monkeypatch.setattr(evaluations, "check_possible", refuse)
    assert "requirements-evaluate.txt" in card.begin_evaluating("newest", SHOWN, HERE)
    assert not home.evaluating.request.exists()


def page_of(home: Home, *, is_owner: bool = True) -> RunPage:
    return RunPage.of(home, None, is_owner=is_owner)


def ask_for(home: Home, run: str, **status: Any) -> None:
    write_json(home.evaluating.request, {"request_id": run, "requested_at": 1, "run": run, "revisions": [{}]})
    if status:
        write_json(home.evaluating.status, {"request_id": run, **status})


def test_a_failure_is_shown_at_its_own_run_without_paths_for_visitors(card: EvaluationCard, home: Home) -> None:
    ask_for(home, "small-otter", state="failed", error=f"{Path('/secret/place')} is damaged.")
    assert "/secret/place" in run_page.evaluating(page_of(home))
    assert "damaged" in (seen := run_page.evaluating(page_of(home, is_owner=False))) and "/secret" not in seen
    ask_for(home, "other-otter")
    assert "Evaluation of other-otter" in run_page.evaluating(page_of(home)), "it is queued"
    ask_for(home, "other-otter", state="failed", error="It is damaged.")
    assert run_page.evaluating(page_of(home)) == ""


def test_visitors_see_the_card_once_there_is_something(card: EvaluationCard, home: Home) -> None:
    assert run_page.evaluations(page_of(home, is_owner=False)) == ""
    ask_for(home, "small-otter")
    assert "Not evaluated yet" in run_page.evaluations(page_of(home, is_owner=False))
