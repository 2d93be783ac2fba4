"""The Prepare card: its handlers, their access checks, and the updates of a tick."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from pipeline.core.atomic_io import read_json, write_json
from pipeline.core.paths import Home
from pipeline.core.settings import Limits, Settings
from pipeline.data.report.scan_report import Report
from pipeline.data.tokens import tokenizer
from pipeline.jobs.runs import start_training
from pipeline.jobs.state import job_state
from pipeline.ui.data import corpus_form, prepare_card
from pipeline.ui.data.prepare_card import PrepareCard, fill_rules
from pipeline.ui.data.tab import DataTab
from pipeline.ui.shared.engine import Engine
from pipeline.ui.shared.top_bar import TopBar
from tests.homes import write_corpus, write_run
from tests.ui.conftest import request_of

HERE = request_of()
AWAY = request_of("example.org", session_hash="browser-two")
SOURCE = ["installed", "", "", ["pandas"], "substring"]
EMPTY = [None] * len([*corpus_form.FIELDS, *corpus_form.RULES])
EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture
def card(settings: Settings) -> PrepareCard:
    return built(settings)


def built(settings: Settings) -> PrepareCard:
    data, bar = DataTab(Engine(settings)), TopBar()
    card = PrepareCard(data.engine, data)
    with gr.Blocks() as page:
        bar.build()
        data.build()
        data.build_main()
        card.build()
        card.build_guide()
        card.build_list()
        data.connect(page)
        card.connect(page, bar)
    return card


def form(name: str = "new", **given: Any) -> list[Any]:
    names = [*corpus_form.FIELDS, *corpus_form.RULES]
    return [*SOURCE, name, given.get("workers"), *(given.get(field) for field in names)]


def tick(card: PrepareCard, shown: Any = None, *, request: Any = HERE, **given: Any) -> dict[Any, Any]:
    return card.refresh(request, shown, given.get("chosen"), given.get("doubtful"))


def press(card: PrepareCard, action: str, *, request: Any = HERE, chosen: Any = None, doubtful: Any = None) -> Any:
    return card.act(chosen, doubtful, SimpleNamespace(value=action), request)  # type: ignore[arg-type]


def test_a_tick_sends_only_what_is_new(card: PrepareCard, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare_card, "free_bytes", lambda folder: 5)
    first = tick(card)
    assert {card.corpora, card.report, card.running} <= set(first)
    shown = first[card.shown]
    fields = {card.corpora, card.report, card.running}
    assert not fields & set(tick(card, shown))
    write_corpus(home, "another")
    again = tick(card, shown)
    assert "another" in again[card.corpora]
    assert card.report not in again


def test_scan_it_all_requests_a_scan_and_prepare_a_corpus(card: PrepareCard, home: Home) -> None:
    answer, chosen = card.scan(HERE, *form("one", workers="2"))
    assert ("one" in answer, chosen) == (True, "one")
    request = read_json(home.corpus("one").request) or {}
    assert (request["only_scan"], request["workforce"]["workers"]) == (True, 2)
    card.prepare(HERE, *form("two"))
    assert (read_json(home.corpus("two").request) or {})["only_scan"] is False


@pytest.mark.parametrize("way", ["prepare", "scan"])
def test_a_refusal_is_one_sentence_as_text(card: PrepareCard, home: Home, way: str) -> None:
    answer, _ = getattr(card, way)(HERE, *form("new", max_line_length=EVIL))
    assert "“Longest line, characters” is “" in answer
    assert "<img" not in answer
    assert not home.corpus("new").request.exists()
    assert "<img" not in card.forecast(HERE, None, *form("new", max_line_length=EVIL))
    assert "“Name of the corpus” is “" in getattr(card, way)(HERE, *form(EVIL))[0]


def test_the_name_follows_the_source_until_somebody_edits_it(card: PrepareCard) -> None:
    hub = ("hub", None, "me/code")
    assert card.follow(*hub, "installed", "installed") == ("code", "code")
    assert card.follow(*hub, "", "installed") == ("code", "code")
    for edited, offered in (("mine", "installed"), ("code", "code")):
        assert card.follow(*hub, edited, offered) == (gr.skip(), "code")


def test_corpora_above_the_disk_budget_are_refused(settings: Settings, home: Home) -> None:
    card = built(Settings(home=settings.home, limits=Limits(corpora_bytes=1)))
    assert "PIPELINE_CORPORA_GB allows" in card.prepare(HERE, *form("new"))[0]


def test_a_visitor_cannot_start_delete_or_read(card: PrepareCard, home: Home) -> None:
    for answer in (card.prepare(AWAY, *form())[0], card.scan(AWAY, *form())[0]):
        assert "Nobody may do that here" in answer
    for action in ("stop ready", "resume ready", "prepare ready", "show ready", "ask ready", "delete ready"):
        assert "Nobody may do that here" in press(card, action, request=AWAY, doubtful="ready")[0]
    assert "Nobody may do that here" in card.inspect.inspect(None, "ready", "", "", AWAY)[0]  # type: ignore[arg-type]
    write_json(home.corpus("ready").report, {"secret": 1})
    assert "No corpus chosen" in tick(card, chosen="ready", request=AWAY)[card.report]
    assert home.corpus("ready").path.exists()


def test_a_report_of_another_version_is_named_as_such(card: PrepareCard, home: Home) -> None:
    written = {**Report(["pandas"]).to_dict(), "removed": {}, "validation": None, "max_files": None, "done": True}
    write_json(home.corpus("ready").report, written)
    assert "Kept rate" in tick(card, chosen="ready")[card.report]
    for name in ("together", "removed"):
        write_json(home.corpus("ready").report, {key: value for key, value in written.items() if key != name})
        assert "Another version of this program wrote it" in tick(card, chosen="ready")[card.report]


def test_what_is_wrong_with_the_corpus_itself_is_a_warning_above_its_report(card: PrepareCard, home: Home) -> None:
    report = {**Report(["pandas"]).to_dict(), "removed": {}, "validation": None, "max_files": None, "done": True}
    folder = home.corpus("ready")
    write_json(folder.report, report)
    assert "writes back" not in tick(card, chosen="ready")[card.report]
    write_json(folder.manifest, {**(read_json(folder.manifest) or {}), "round_trip": 0.875})
    assert "The tokenizer writes back 87.5% of the text" in tick(card, chosen="ready")[card.report]


def test_deleting_takes_two_presses(card: PrepareCard, home: Home) -> None:
    assert press(card, "delete ready") == ("", "ready", None)
    assert home.corpus("ready").path.exists(), "not confirmed yet"
    assert press(card, "ask ready")[2] == "ready"
    assert 'data-job="delete ready"' in tick(card, doubtful="ready")[card.corpora]
    assert 'data-job="delete ready"' not in tick(card)[card.corpora]
    assert press(card, "keep ready", chosen="other", doubtful="ready") == ("", "other", None)
    answer, chosen, doubtful = press(card, "delete ready", chosen="ready", doubtful="ready")
    assert "was deleted" in answer
    assert (chosen, doubtful, home.corpus("ready").path.exists()) == (None, None, False)


def test_deleting_names_the_runs_that_could_still_be_resumed(card: PrepareCard, home: Home) -> None:
    write_run(home, "done-kea")
    assert "could not be resumed" not in tick(card, doubtful="ready")[card.corpora]
    write_run(home, "calm-kea", state="stopped")
    assert "calm-kea could not be resumed" in tick(card, doubtful="ready")[card.corpora]


def test_a_corpus_that_a_run_trains_on_is_not_deleted(card: PrepareCard, home: Home, settings: Settings) -> None:
    run = start_training(settings, corpus="ready", preset="tiny", recipe="accelerate")
    answer, _, doubtful = press(card, "delete ready", doubtful="ready")
    assert f"Run {run} trains on corpus ready" in answer
    assert doubtful is None
    assert home.corpus("ready").path.exists()


@pytest.mark.parametrize("action", ["show ../..", "ask ../../etc", "delete ../x", "resume", "stop <b>", "nonsense"])
def test_an_action_that_no_button_sends_does_nothing(card: PrepareCard, home: Home, action: str) -> None:
    press(card, action, doubtful=action.partition(" ")[2])
    assert set(tick(card, chosen="../..", doubtful="../x")) >= {card.corpora}
    assert home.corpus("ready").path.exists()


def test_the_switch_fills_the_fields_in_the_browser_itself() -> None:
    assert "1000" in fill_rules()
    assert '"0.85"' in fill_rules()


def test_the_samples_of_the_chosen_corpus_are_inspected(card: PrepareCard, home: Home) -> None:
    assert "no sample files yet" in card.inspect.inspect(None, None, "", "", HERE)[0]  # type: ignore[arg-type]
    texts = ["import pandas as pd\npd.DataFrame()\n" * 20, "x = 1\n" * 50]
    write_json(home.corpus("ready").samples, {"samples": [{"content": text} for text in texts]})
    found, inspected = card.inspect.inspect(None, "ready", f"DataFrame, {EVIL}", "16", HERE)  # type: ignore[arg-type]
    assert "2 sample files of corpus ready" in found
    assert "was trained on these samples" in found
    assert 'data-word="DataFrame"' in found
    assert "<img" not in found

    # ---- the list of corpora changes ----
    assert card.inspect.renew(None, HERE) == (gr.skip(), gr.skip()), "nothing was inspected"  # type: ignore[arg-type]
    assert card.inspect.renew(inspected, HERE) == (gr.skip(), gr.skip())  # type: ignore[arg-type]
    home.corpus("ready").tokenizer.mkdir()
    tokenizer.save_trained(tokenizer.train(iter(texts), 300), home.corpus("ready").tokenizer)
    renewed, inspected = card.inspect.renew(inspected, HERE)  # type: ignore[arg-type]
    assert "Tokenizer of corpus ready" in renewed
    assert 'data-word="DataFrame"' in renewed
    assert card.inspect.renew(inspected, HERE) == (gr.skip(), gr.skip())  # type: ignore[arg-type]
    assert "in tokens” is 2" in card.inspect.inspect(None, "ready", "", "2", HERE)[0]  # type: ignore[arg-type]
    assert "“Other key tokens” is “xxx" in card.inspect.inspect(None, "ready", "x" * 50, "", HERE)[0]  # type: ignore[arg-type]


def offer(card: PrepareCard, action: str, request: Any = HERE) -> dict[Any, Any]:
    return card.push.offer(SimpleNamespace(value=action), request)  # type: ignore[arg-type]


def test_a_push_is_offered_for_the_dataset_it_went_to_before(
    settings: Settings, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_of_the_test")
    card = built(settings)
    assert offer(card, "offer ready")[card.push.repo] == "", "no owner is configured"
    card = built(Settings(home=settings.home, hub_repo="me/parrot"))
    offered = offer(card, "offer ready")
    assert (offered[card.push.corpus], offered[card.push.repo]) == ("ready", "me/ready")
    card.push.push("ready", " me/files ", True, HERE)  # type: ignore[arg-type]
    assert offer(card, "offer ready")[card.push.repo] == "me/files"
    request = read_json(home.corpus("ready").push.request) or {}
    assert (request["kind"], request["repo"], request["private"]) == ("push", "me/files", True)
    assert press(card, "stop-push ready")[0] == ""
    assert job_state(home.corpus("ready").push).state == "stopped"


def test_another_button_and_a_visitor_close_the_form(card: PrepareCard) -> None:
    for action, request in (("show ready", HERE), ("offer ../..", HERE), ("offer", HERE), ("offer ready", AWAY)):
        assert offer(card, action, request)[card.push.corpus] is None, action


def test_a_visitor_cannot_push_and_sees_no_push(card: PrepareCard, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_of_the_test")
    asked = card.push.push("ready", "me/files", False, AWAY)  # type: ignore[arg-type]
    assert "Nobody may do that here" in asked[card.push.answer]
    assert not home.corpus("ready").push.path.exists()
    card.push.push("ready", "me/hidden", True, HERE)  # type: ignore[arg-type]
    assert "Nobody may do that here" in press(card, "stop-push ready", request=AWAY)[0]
    assert "me/hidden" in tick(card)[card.corpora]
    assert "me/hidden" not in tick(card, request=AWAY)[card.corpora]


def test_a_push_without_a_token_is_refused_in_the_form(
    card: PrepareCard, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    asked = card.push.push("ready", "me/files", False, HERE)  # type: ignore[arg-type]
    assert "HF_TOKEN is not set; set it to a token" in asked[card.push.answer]
    assert card.push.form not in asked, "the form stays open"
    assert not home.corpus("ready").push.path.exists()


@pytest.mark.parametrize("kind", ["installed", "files"])
def test_a_visitors_plan_uses_no_corpus_of_a_private_source(
    card: PrepareCard, home: Home, tmp_path: Path, kind: str
) -> None:
    """Otherwise the plan would reveal that somebody scanned the source."""
    values = [kind, str(tmp_path), *form("seen")[2:]]
    (tmp_path / "salaries.py").write_text("import pandas")
    answer, _ = card.scan(HERE, *values)
    assert "asked for" in answer
    folder = home.corpus("seen")
    write_json(folder.status, {"request_id": (read_json(folder.request) or {})["request_id"], "state": "finished"})
    write_json(folder.report, {"bytes": 10**6, "kept": 31, "kept_bytes": 90_000, "seconds": 2.0, "done": True})
    owners, visitors = (card.forecast(request, None, *values) for request in (HERE, AWAY))
    assert "31" in owners
    assert ("31" in visitors) == (kind == "installed")
