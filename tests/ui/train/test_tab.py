"""Updates of a tick: everything at first, then only what has changed."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import gradio as gr
import pytest
from fastapi import Request

from pipeline.core.atomic_io import append_line, locked, read_json, write_json
from pipeline.core.paths import Home
from pipeline.core.settings import Settings
from pipeline.hub.push_status import Retrying, retry_requested_at, write_retrying
from pipeline.ui.shared import form_values, live_home
from pipeline.ui.shared.engine import Engine
from pipeline.ui.shared.top_bar import TopBar
from pipeline.ui.train.tab import TrainTab
from tests.homes import write_corpus, write_run
from tests.ui.conftest import request_of

HERE = request_of("127.0.0.1:7860")
AWAY = request_of("example.org")


@pytest.fixture
def tab(settings: Settings) -> TrainTab:
    return built(settings)


def built(settings: Settings) -> TrainTab:
    tab = TrainTab(Engine(settings))
    with gr.Blocks():
        tab.build()
    return tab


def tick(
    tab: TrainTab, shown: Any = None, chosen: str | None = None, corpus: str | None = None, request: Any = HERE
) -> dict[Any, Any]:
    return tab.refresh(chosen, shown, corpus, request)


def test_the_first_tick_sends_everything_and_the_next_ones_only_changes(tab: TrainTab, home: Home) -> None:
    write_run(home, "calm-kea")
    first = tick(tab)
    assert {tab.strip, tab.log, tab.corpus, *tab.plots.values(), *tab.heads.values()} <= set(first)
    shown = first[tab.shown]
    for _ in range(10):
        again = tick(tab, shown)
        assert set(again) == {tab.shown}
        shown = again[tab.shown]


def test_a_new_row_of_metrics_sends_the_charts_that_it_changes_at_the_next_tick(tab: TrainTab, home: Home) -> None:
    folder = write_run(home, "calm-kea", state="running")
    with locked(folder.lock):
        shown = tick(tab)[tab.shown]
        for number in range(6):
            append_line(folder.metrics, {"step": 20, "train_loss": 5.0 - number / 10})
            updates = tick(tab, shown)
            shown = updates[tab.shown]
            sent = {name for name, plot in tab.plots.items() if plot in updates}
            assert sent == {"loss", "perplexity"}, "the others have no new value and the same last step"
            assert {name for name, head in tab.heads.items() if head in updates} == sent
            assert f"train {5.0 - number / 10:.3f}" in updates[tab.plots["loss"]]


def test_the_last_figures_are_drawn_when_the_run_has_ended(tab: TrainTab, home: Home) -> None:
    folder = write_run(home, "calm-kea", state="running")
    with locked(folder.lock):
        shown = tick(tab)[tab.shown]
    append_line(folder.metrics, {"step": 99, "train_loss": 5.0})
    write_json(folder.status, {"request_id": "calm-kea", "state": "finished", "step": 99})
    assert tab.plots["loss"] in tick(tab, shown)


def test_choosing_another_run_sends_its_charts_at_once(tab: TrainTab, home: Home) -> None:
    write_run(home, "calm-kea")
    append_line(write_run(home, "old-kea", age_seconds=900).metrics, {"step": 30, "train_loss": 5.0})
    updates = tick(tab, tick(tab)[tab.shown], chosen="old-kea")
    assert "old-kea" in updates[tab.strip]
    assert "train 5.000" in updates[tab.plots["loss"]]


def test_stop_and_resume_are_shown_when_they_are_possible(tab: TrainTab, home: Home) -> None:
    folder = write_run(home, "calm-kea", state="running")
    with locked(folder.lock):
        assert buttons(tick(tab), tab) == {"stop": True, "resume": False}
    assert buttons(tick(tab), tab) == {"stop": False, "resume": True}  # no process holds its lock: interrupted
    write_json(folder.status, {"request_id": "calm-kea", "state": "finished"})
    assert buttons(tick(tab), tab) == {"stop": False, "resume": False}


def test_the_run_that_is_queued_behind_another_is_not_shown_in_its_place(tab: TrainTab, home: Home) -> None:
    def begin(**session: str) -> tuple[str, Any]:
        return tab.begin(
            request_of("127.0.0.1:7860", **session), "ready", "tiny", "accelerate", *[""] * len(tab.numbers)
        )

    folder = write_run(home, "calm-kea", state="running")
    with locked(folder.lock):
        assert "starts by itself" not in tick(tab)[tab.problem]
        message, chosen = begin()
        assert (message, chosen) == ("", gr.skip())
        shown = tick(tab)
        assert "calm-kea" in shown[tab.strip]
        assert "starts by itself when calm-kea has ended" in shown[tab.problem]
    message, chosen = begin(session_hash="browser-two")
    assert (message, home.run(chosen).request.exists()) == ("", True)


def test_a_checkpoint_that_does_not_arrive_is_told_and_the_owner_may_push_it_again(
    settings: Settings, home: Home
) -> None:
    tab, run = built(replace(settings, hub_repo="me/parrot")), write_run(home, "calm-kea")
    assert tick(tab)[tab.retry]["visible"] is False
    row = {"step": 20, "state": "refused", "repo": "me/parrot", "error": "It holds diary.txt.", "time": time.time()}
    append_line(run.pushes, row)
    shown = tick(tab)
    assert shown[tab.retry]["visible"] is True
    assert "Step 20 is not on the Hub" in shown[tab.problem] and "It holds diary.txt." in shown[tab.problem]
    assert "Nobody may do that here" in tab.push_again(shown[tab.shown], AWAY)
    assert retry_requested_at(home, "me/parrot") == 0
    assert tab.push_again(shown[tab.shown], HERE) == ""
    assert retry_requested_at(home, "me/parrot") > 0
    visitors = str(tick(tab, request=AWAY))
    assert "diary.txt" not in visitors and "The reason is for the owner" in visitors

    append_line(run.pushes, {**row, "state": "retrying"})
    now = time.time()
    late = Retrying(run="calm-kea", step=20, attempts=3, since=now - 61, next_at=now + 30, error="The Hub is busy.")
    write_retrying(home, "me/parrot", late)
    problem = tick(tab)[tab.problem]
    assert "Step 20 is not on the Hub yet" in problem and "The Hub is busy." in problem
    assert "3 attempts in" in problem and "; the next in" in problem

    append_line(run.pushes, {**row, "error": "It is torn.", "seen": 1.0})
    assert "Step 20 cannot be pushed" in tick(tab)[tab.problem]
    assert tick(tab)[tab.retry]["visible"] is False


def test_a_corpus_that_is_new_takes_the_place_of_the_offer_to_prepare_one(tab: TrainTab, home: Home) -> None:
    home.corpus("ready").manifest.unlink()
    first = tick(tab)
    assert first[tab.corpus].constructor_args["value"] == ""
    write_corpus(home, "fresh")
    updates = tick(tab, first[tab.shown], corpus="")
    assert updates[tab.corpus].constructor_args["value"] == "fresh"
    write_corpus(home, "later")
    updates = tick(tab, updates[tab.shown], corpus="fresh")
    assert updates[tab.corpus].constructor_args["value"] == "fresh"  # a selected corpus stays selected


@pytest.mark.parametrize(("source", "corpus"), [("pypi", "pypi-examples"), ("installed", "installed")])
def test_without_a_corpus_the_source_that_is_offered_is_prepared_first(
    tab: TrainTab, home: Home, monkeypatch: pytest.MonkeyPatch, source: str, corpus: str
) -> None:
    monkeypatch.setattr(tab.engine.offer, "known", lambda: source)
    home.corpus("ready").manifest.unlink()
    choices = tick(tab)[tab.corpus].constructor_args["choices"]
    assert [(corpus in text, value) for text, value in choices] == [(True, "")]
    problem, run = tab.begin(HERE, "", "tiny", "accelerate", *[""] * len(tab.numbers))
    assert problem == ""
    assert (read_json(home.run(run).request) or {})["corpus"] == corpus
    assert (read_json(home.corpus(corpus).request) or {})["config"]["source"] == source


def test_a_rate_far_above_the_recipes_is_a_warning_in_the_forms_words(tab: TrainTab) -> None:
    def plan(rate: str) -> str:
        numbers = [rate if name == "learning_rate" else "" for name in form_values.CHANGES]
        return str(tab.forecast("ready", "tiny", "accelerate", *numbers)[tab.plan])

    assert "the loss will probably grow" not in plan("")
    assert "“Learning rate” 9.5 is 4,750 times that of recipe accelerate (0.002); the loss will probably grow" in plan(
        "9.5"
    )


def test_the_plan_counts_the_epochs_of_a_corpus_once_it_is_prepared(settings: Settings, home: Home) -> None:
    tab = TrainTab(Engine(settings))
    with gr.Blocks() as page:
        tab.build()
        bar = TopBar()
        bar.build()
        tab.connect(page, bar, gr.Tabs())
    manifest = home.corpus("ready").manifest
    kept = manifest.read_bytes()
    empty = [""] * len(tab.numbers)
    manifest.unlink()
    assert ">once prepared<" in tab.forecast("ready", "tiny", "accelerate", *empty)[tab.plan]
    manifest.write_bytes(kept)
    assert ">once prepared<" not in tab.forecast("ready", "tiny", "accelerate", *empty)[tab.plan]
    asked = {target for function in page.fns.values() if function.fn == tab.forecast for target in function.targets}
    assert (tab.offer._id, "change") in asked, "it is asked for again when a corpus becomes ready"


def test_a_link_shows_its_run_and_a_wrong_one_says_so(settings: Settings, home: Home) -> None:
    tab = TrainTab(Engine(settings))
    with gr.Blocks() as page:
        tabs, bar = gr.Tabs(), TopBar()
        tab.build()
        bar.build()
        tab.connect(page, bar, tabs)
    write_run(home, "calm-kea")
    write_run(home, "bold-kea", age_seconds=500)

    def opened(query: str) -> dict[Any, Any]:
        scope = {"type": "http", "client": ("8.8.8.8", 1), "headers": [(b"host", b"a.example")]}
        request = gr.Request(request=Request({**scope, "query_string": query.encode()}), session_hash="s")
        return tab.open_runs(None, None, None, request)

    updates = opened("run=bold-kea")
    assert updates[tab.chosen] == "bold-kea" and 'data-run="bold-kea"' in updates[tab.strip]
    assert (updates[tab.answer], updates[tabs].selected) == ("", "train")
    wrong = opened("run=%3Cb%3E" + "x" * 500)
    assert "There is no run &lt;b&gt;xxx" in wrong[tab.answer] and len(wrong[tab.answer]) < 300
    assert 'data-run="calm-kea"' in wrong[tab.strip] and wrong[tabs].selected == "train"
    assert tabs not in opened("") and tab.answer not in opened("")


def test_a_damaged_file_is_named_and_the_page_still_renders(tab: TrainTab, home: Home) -> None:
    home.corpus("ready").manifest.write_text("{")
    assert tab.strip in tick(tab)
    updates = tab.forecast("ready", "tiny", "accelerate", *[""] * len(tab.numbers))
    assert "is not JSON" in updates[tab.plan]


def buttons(updates: dict[Any, Any], tab: TrainTab) -> dict[str, bool]:
    return {name: updates[getattr(tab, name)]["visible"] for name in ("stop", "resume")}


def test_visitors_see_no_log_and_no_path_of_this_machine(tab: TrainTab, home: Home) -> None:
    run = write_run(home, "sad-kea", state="failed", error="The disk of /srv/secret/home/runs is full; make room.")
    run.log.write_text("opened /srv/secret/home\n")
    owner, visitor = tick(tab), tick(tab, request=AWAY)
    assert "/srv/secret" in owner[tab.problem] and "/srv/secret" in owner[tab.log], "control"
    assert "/srv/secret" not in str(visitor)
    assert "The log is for the owner" in visitor[tab.log]
    assert "The disk of [path] is full" in visitor[tab.problem]


@pytest.mark.parametrize(("request_", "num_readings"), [(AWAY, 1), (HERE, 3)])
def test_visitors_share_a_reading_and_the_owner_sees_the_last_click(
    tab: TrainTab, monkeypatch: pytest.MonkeyPatch, request_: gr.Request, num_readings: int
) -> None:
    read, view = [], live_home.home_view
    monkeypatch.setattr(live_home, "home_view", lambda home: (read.append(home), view(home))[1])
    monkeypatch.setattr(tab.engine.live._recent, "_fresh_seconds", 60.0)
    for _ in range(3):
        tick(tab, request=request_)
    assert len(read) == num_readings
