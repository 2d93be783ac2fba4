"""Every template shows its values as text, whoever wrote them."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import jinja2
import pytest
from markupsafe import Markup

from pipeline.artifacts.revision import Revision
from pipeline.config.prompts import Prompt
from pipeline.config.schema import DataConfig
from pipeline.core.atomic_io import read_json, write_json
from pipeline.core.errors import PipelineError
from pipeline.core.paths import Home
from pipeline.data.preview.scan import Ended, Scan
from pipeline.data.report.samples import Sample
from pipeline.data.report.scan_report import Report
from pipeline.gallery.example import Example
from pipeline.gallery.examples import ExamplesPage
from pipeline.gallery.moderation import State
from pipeline.gallery.search import Query
from pipeline.generation.reading import Guess, Inside, LayerView, ReadToken, TokenReading
from pipeline.jobs.state import ACTIVE, RESUMABLE
from pipeline.jobs.view_types import CorpusView, EvaluationView, PushView
from pipeline.jobs.views import corpus_view
from pipeline.planning import CorpusThroughput, SourceFigures, plan_corpus
from pipeline.ui.data.corpus_form import CorpusForecast
from pipeline.ui.data.inspection import Inspection
from pipeline.ui.data.report_view import bad_rows, length_columns, length_words, parts
from pipeline.ui.data.sample_view import ShownScan, sample_html
from pipeline.ui.data.scans import Key
from pipeline.ui.data.tab import figures_html, progress_html
from pipeline.ui.gallery.example_card import ExampleCard
from pipeline.ui.gallery.tab import Note, View
from pipeline.ui.generate.answers import Answer, Completion
from pipeline.ui.generate.browser_run import BrowserRun
from pipeline.ui.generate.growth import Growth
from pipeline.ui.generate.program import DrawingProgram
from pipeline.ui.generate.readings import Asked
from pipeline.ui.generate.shading import shaded
from pipeline.ui.shared import charts, form_values
from pipeline.ui.shared.markup import environment, notice, render
from pipeline.ui.shared.texts import ASSETS
from pipeline.ui.train import run_page
from pipeline.ui.train.run_page import RunPage
from tests.homes import write_run

EVIL = """"><script>alert(1)</script><img src=x onerror=alert(2)>' onmouseover='{{ 7*7 }}${7*7}"""
OWN_TAGS = set(
    "a article b button circle code dd details div dl dt footer form h1 h2 h3 h4 header i input li mark nav ol option p path pre "
    "section select small span strong summary svg rect label output table tbody td template th thead tr ul".split()
)


def assert_harmless(markup: str) -> None:
    tags = re.findall(r"<\s*([a-zA-Z!][^\s/>]*)", markup)
    assert set(tags) <= OWN_TAGS, set(tags) - OWN_TAGS
    attributes = re.findall(r"<[a-z0-9]+((?:\s+[\w-]+(?:=\"[^\"]*\")?)*)\s*/?>", markup)
    assert len(attributes) == len(tags), "a tag was torn open"
    names = {
        name for part in attributes for name in re.findall(r"\s([\w-]+)(?==|\s|$)", re.sub(r'"[^"]*"', '""', part))
    }
    assert not {name for name in names if name.startswith("on")}


def report() -> dict[str, Any]:
    return {
        "scanned": 10,
        "kept": 4,
        "keep_rate": 0.4,
        "keep_rate_interval": [0.17, 0.69],
        "keywords": {EVIL: {"files": 4, "rate": 0.4, "imported": None, "mentioned": None, "first_line": 3}},
        "overlap": [{"keywords": [EVIL], "files": 4}],
        "together": [{"keywords": [EVIL, EVIL], "files": 2}],
        "bad_rows": {EVIL: 2},
        "bad_examples": [{"reason": EVIL, "where": EVIL}],
        "skipped": 3,
        "bytes": 5_000,
        "kept_bytes": 2_000,
        "seconds": 0.1,
        "bytes_per_second": 50_000,
        "repositories": [{"name": EVIL, "files": 4}],
        "licenses": [{"name": EVIL, "files": 4}, {"name": "", "files": 1}],
        "lengths": [{"up_to": 1024, "files": 10, "kept": 4}],
    }


def completion(state: str) -> Completion:
    answer = Answer(example(), [EVIL, EVIL], note=EVIL)
    return Completion(EVIL, SAMPLING, [answer], state, error=PipelineError(EVIL) if state == "failed" else None)


def sample() -> Sample:
    return Sample("0", EVIL, EVIL, EVIL, EVIL, EVIL, EVIL, (EVIL[:5],))


def seen() -> ShownScan:
    return ShownScan(Scan(report(), [sample()], False))


def corpus() -> CorpusView:
    view = corpus_view(Home(Path("nowhere")), "some-id")
    return dataclasses.replace(view, source=EVIL, error=EVIL, state="failed")


def push(text: str) -> PushView:
    return PushView(
        corpus="some-id",
        state="running",
        repo=text,
        private=False,
        message=text,
        url=None,
        error=None,
        updated_at=5.0,
    )


def full_report() -> dict[str, Any]:
    examples = [{"repo_name": EVIL, "path": EVIL, "of": EVIL}, {"repo_name": EVIL, "path": EVIL}]
    removed = {EVIL: {"files": 2, "bytes": 20, "examples": examples}}
    held_out = {**report(), "removed": removed}
    facts = {"keep_rate_interval": [0.3, 0.5], "validation": held_out, "max_files": 1, "done": False}
    return {**report(), **facts, "removed": removed}


def inspection() -> Inspection:
    key = {"text": EVIL, "ids": [1, 2], "pieces": [EVIL, " "], "counted": False, "control": False}
    drop = {"windows": 2, "dropped": 3, "share": 0.1, "files_without_window": 0, "windows_per_file": {0: 1}}
    join = {"tokens": 40, "windows": 2, "dropped": 1, "share": 0.0}
    weights = [{"key_tokens": n, "weight": 1.0 + n, "windows": 5} for n in range(14)]
    return Inspection(
        windows={"files": 3, "tokens": 30, "window": 8, "drop": drop, "join": join},
        keys={"tokens": [{**key, "in_texts": 1, "as_token": 0}], "windows": 3, "alpha": 1.0, "weights": weights},
        tokenizer=EVIL,
        vocab_size=300,
        samples=EVIL,
    )


def forecast() -> CorpusForecast:
    seen = SourceFigures(num_bytes=10, kept=2, kept_bytes=5, share=0.5, knows_rules=False)
    throughput = CorpusThroughput(
        corpus=EVIL,
        filter_seconds_per_byte=1.0,
        learn_seconds_per_byte=1.0,
        write_seconds_per_byte=1.0,
        stored_share=0.2,
        bytes_per_token=4.0,
        vocab_size=300,
        text_bytes=50_000_000,
    )
    plan = plan_corpus(DataConfig(), seen=seen, throughput=throughput)
    plan.warnings.append(EVIL)
    return CorpusForecast(plan=plan, seen=seen, by="preview", throughput=throughput)


def example() -> Example:
    return Example(
        id="abcd1234",
        prompt=EVIL,
        settings={},
        seed=0,
        revision=EVIL,
        repo=EVIL,
        run=EVIL,
        step=5,
        eval_loss=None,
        texts=[EVIL, EVIL],
        title=EVIL,
        created_at=EVIL,
        remix_of=EVIL,
    )


def gallery(*, is_owner: bool, query: Query | None = None) -> dict[str, Any]:
    state = State(is_hidden=True, is_pinned=True, is_approved=True, reporters=("a", "b"))
    page = ExamplesPage(
        examples=[example()],
        number=2,
        num_pages=3,
        num_examples=60,
        runs=[EVIL],
        num_damaged=2,
        num_reported=1,
        states={"abcd1234": state},
    )
    return {
        "page": page,
        "cards": [ExampleCard.of(example(), state)],
        "is_owner": is_owner,
        "view": View(doubtful="abcd1234"),
        "note": Note("abcd1234", EVIL),
        "query": query or Query(),
        "dataset": EVIL,
        "address": (query or Query()).address(2),
    }


SAMPLING = {"temperature": EVIL, "top_p": EVIL, "top_k": EVIL, "max_new_tokens": EVIL, "seed": 0, "stop_at": EVIL}
EVIL_REVISION = Revision(
    repo=EVIL, revision=EVIL, run=EVIL, step=1, corpus=EVIL, pushed_at=EVIL, eval_loss=2.0, tokens=1, parameters=2,
    commit=EVIL, path=Path(EVIL),
)  # fmt: skip


def evil_tokens() -> dict[str, Any]:
    guesses = [Guess(text=EVIL, probability=0.5)]
    tokens = [ReadToken(text=EVIL, loss=loss, guesses=guesses) for loss in (None, 1.0)]
    reading = TokenReading(tokens=tokens, num_given=1, engine=EVIL)
    return {
        "asked": Asked(0, EVIL, None),
        "num_samples": 2,
        "lines": shaded(reading, window=1, other=reading),
        "reading": reading,
        "revision": EVIL_REVISION,
        "other": EVIL_REVISION,
        "others": reading,
        "has_same_tokens": True,
        "window": 1,
        "number": 0,
        "last": 1,
        "steps": json.dumps([EVIL]),
        "labels": json.dumps([EVIL]),
    }


def evil_inside() -> Inside:
    layer = LayerView(guesses=[Guess(text=EVIL, probability=0.5)], heads=[[(0, 1.0)]])
    return Inside(at=1, texts=[EVIL, EVIL], layers=[layer])


def evil_evaluations() -> dict[str, Any]:
    row = {"step": 1, "parses": 0.5, "runs": 0.5, "right": 0.5, "right_low": 0.5, "right_high": 0.5}
    drawing = charts.drawing(charts.TASKS, [row], level=0.5)
    newest = {
        **row,
        "num_tasks": EVIL,
        "samples": EVIL,
        "libraries": {EVIL: dict.fromkeys(("right", "loss", "bits_per_byte"))},
        "by_heart": {split: {"files": 200, "share": 0.1} for split in ("train", "validation")},
    }
    reference = {**newest, "name": EVIL}
    return {"drawing": drawing, "newest": newest, "reference": reference, "width": 400, "height": 160}


def evil_evaluation() -> EvaluationView:
    return EvaluationView(
        state="running", run=EVIL, count=1, number=1, revision=EVIL, step=1, stage="run", done=1, total=2
    )


def evil_growth() -> dict[str, Any]:
    growth = Growth(EVIL, [EVIL_REVISION], {EVIL: EVIL}, error=PipelineError(EVIL))
    drawing = charts.drawing(charts.CHARTS[0], growth.metrics)
    return {"growth": growth, "labels": EVIL, "drawing": drawing, "width": 400, "height": 160}


def evil_run(text: str, *, missing: tuple[str, ...] = ()) -> BrowserRun:
    return BrowserRun(DrawingProgram(EVIL + text, 1, (EVIL,), (EVIL,), missing, 29), host=EVIL)


NO_RUN = {"browser_run": lambda text: None}
EVIL_QUERY = Query(words=EVIL, run=EVIL, prompt_key=EVIL)
REMIXED = dataclasses.replace(example(), prompt=f"{EVIL} other")

SHOWN: list[tuple[str, dict[str, Any]]] = [
    ("notice", {"kind": "bad", "title": EVIL, "message": EVIL, "field": EVIL, "more": EVIL, "number": 1}),
    ("blank", {"title": EVIL, "message": EVIL}),
    ("scan_cancelled", {"rows": 7, "source": EVIL, "is_older_below": True}),
    ("keyword_hits", {"report": report(), "match": "substring"}),
    ("overlap", {"report": report()}),
    ("overlap", {"report": {**report(), "keywords": dict.fromkeys((EVIL, *"abcdef"))}}),
    ("lengths", {"columns": length_columns(report()), "words": EVIL}),
    ("largest", {"report": report()}),
    ("bad_rows", {"reasons": bad_rows(report()), "skipped": 3}),
    (
        "corpora",
        {
            "corpora": [corpus()],
            "pushes": {},
            "chosen": EVIL,
            "doubtful": "some-id",
            "needed_by": [EVIL],
            "free": 5,
            "is_owner": True,
        },
    ),
    (
        "corpora",
        {
            "corpora": [corpus()],
            "pushes": {"some-id": push(EVIL)},
            "chosen": EVIL,
            "doubtful": "",
            "free": 5,
            "is_owner": True,
        },
    ),
    (
        "corpora",
        {
            "corpora": [corpus()],
            "pushes": {"some-id": dataclasses.replace(push(EVIL), state="finished", url=EVIL)},
            "chosen": None,
            "doubtful": None,
            "needed_by": [],
            "free": 5,
            "is_owner": True,
        },
    ),
    (
        "corpora",
        {
            "corpora": [corpus()],
            "pushes": {"some-id": dataclasses.replace(push(EVIL), state="failed", error=EVIL)},
            "chosen": None,
            "doubtful": None,
            "needed_by": [],
            "free": 5,
            "is_owner": True,
        },
    ),
    ("push_title", {"corpus": EVIL}),
    ("corpus_report", {"view": corpus(), "report": full_report(), **parts(full_report(), "substring")}),
    ("removed", {"view": corpus(), "report": full_report()}),
    ("validation", {"report": full_report(), "validation_reasons": [(EVIL, 2, [EVIL])]}),
    ("inspection", {"found": inspection()}),
    ("corpus_plan", {"forecast": forecast(), "config": DataConfig(source=EVIL, tokenizer=EVIL)}),
    ("prompts", {"prompts": [Prompt(EVIL, EVIL, EVIL)], "current": EVIL}),
    ("completion_failed", {"notice": Markup(notice(EVIL))}),
    *(("completion", {"completion": completion(state), **NO_RUN}) for state in ("running", "stopped", "failed")),
    ("completion", {"completion": dataclasses.replace(completion("finished"), example=example()), **NO_RUN}),
    ("completion", {"completion": dataclasses.replace(completion("finished"), remixed=REMIXED), **NO_RUN}),
    ("completion", {"completion": dataclasses.replace(completion("finished"), remixed=REMIXED, answers=[]), **NO_RUN}),
    ("completion", {"completion": completion("stopped"), "browser_run": evil_run}),
    ("completion", {"completion": completion("stopped"), "browser_run": lambda text: evil_run(text, missing=(EVIL,))}),
    ("tokens_offer", {"revision": EVIL}),
    ("tokens", evil_tokens()),
    ("inside", {"inside": evil_inside()}),
    ("growth", evil_growth()),
    ("evaluations", evil_evaluations()),
    ("evaluations_blank", {}),
    ("evaluating", {"view": evil_evaluation()}),
    ("revision_advice", {"chosen": EVIL, "revision": EVIL_REVISION, "better": EVIL_REVISION}),
    ("permalink", {"link": EVIL, "example": example(), "note": EVIL}),
    ("gallery", gallery(is_owner=False)),
    ("gallery", gallery(is_owner=True)),
    ("gallery", gallery(is_owner=True, query=EVIL_QUERY)),
    ("gallery", {**gallery(is_owner=False, query=EVIL_QUERY), "cards": []}),
    ("gallery_search", {"query": EVIL_QUERY, "runs": [EVIL], "of_prompt": EVIL, "most": 200}),
    ("completion_tools", {"files": {"py": EVIL, "ipynb": EVIL}, "name": EVIL, "snippet": EVIL}),
    ("prompt_link", {"most": 2_000}),
    ("log", {"lines": [EVIL]}),
    ("pushes", {"pushes": [{"step": 1, "state": "refused", "revision": EVIL, "error": EVIL}], "repo": EVIL}),
    ("story", {"name": EVIL, "prompt": EVIL, "rows": [{"step": 0, "text": EVIL}], "losses": {}}),
    ("aside", {"text": EVIL}),
    ("hint", {"text": EVIL}),
    ("section", {"title": EVIL}),
    ("top_bar", {}),
    ("unlock", {"state": "locked", "message": EVIL, "space_host": EVIL}),
    ("unlock", {"state": "locked", "message": EVIL, "space_host": None}),
    ("unlock", {"state": "closed", "message": EVIL, "space_host": None}),
]


@pytest.mark.parametrize(("template", "values"), SHOWN, ids=[name for name, _ in SHOWN])
def test_hostile_values_stay_text(template: str, values: dict[str, Any]) -> None:
    markup = render(template, **values)
    assert "49" not in markup
    assert_harmless(markup)


def hostile_key(limit: int) -> Key:
    return Key(EVIL, (EVIL,), "substring", limit, builders=False)


@pytest.mark.parametrize("num_from_memory", [0, 4, 12])
@pytest.mark.parametrize("done", [False, True])
def test_a_scan_of_hostile_names_stays_text(done: bool, num_from_memory: int) -> None:
    scan = Scan({**report(), "seconds": 3.0}, [sample()], done, 0.5, num_from_memory)
    assert_harmless(progress_html(scan, hostile_key(12)))
    figures = figures_html(dataclasses.replace(scan, note=EVIL))
    assert "script" in figures
    assert_harmless(figures)


def test_a_scan_that_a_limit_ended_says_so_and_is_no_longer_running() -> None:
    scan = Scan(report(), [sample()], False, 0.5)
    for ended, words in (
        (Ended("seconds", 120.0), "may take 2 min"),
        (Ended("bytes", 10**9), "may read 1.0 GB of text"),
    ):
        markup = progress_html(dataclasses.replace(scan, ended=ended), hostile_key(100))
        assert "Ended early" in markup
        assert words in markup
        assert "Scanning" not in markup
    nothing = Scan(Report(["pandas"]).to_dict(), [], False, ended=Ended("seconds", 120.0))
    assert "Nothing was read in 2 min" in progress_html(nothing, hostile_key(100))
    assert "Scanning" in progress_html(scan, hostile_key(100)), "control"


@pytest.mark.parametrize("keyword", ["", EVIL[:5], EVIL])
def test_a_hostile_file_stays_text(keyword: str) -> None:
    markup = sample_html(seen(), keyword, 0)
    assert "script" in markup or keyword == ""
    assert_harmless(markup)


def test_an_empty_scan_is_shown() -> None:
    empty = Report(["pandas"]).to_dict()
    scan = Scan(empty, [], True)
    assert "0.00 %" in figures_html(scan)
    assert "No files yet" in render("lengths", columns=length_columns(empty), words=length_words(empty))
    assert "No kept files" in render("largest", report=empty)
    assert "No kept files" in sample_html(ShownScan(scan), "", 0)
    assert "No kept files" in sample_html(None, "", 0)
    assert "Nothing was read" in render("scan_cancelled", rows=0, source="installed", is_older_below=False)


@pytest.mark.parametrize("state", [*ACTIVE, *RESUMABLE, "finished"])
def test_a_corpus_and_a_run_without_details_are_shown_in_every_state(state: str) -> None:
    home = Home(Path("nowhere"))
    view = dataclasses.replace(corpus_view(home, "some-id"), state=state, progress=0.5, stage="filter")
    nothing = dataclasses.replace(view, stage=None, progress=None)
    values = {"pushes": {}, "chosen": None, "doubtful": "some-id", "needed_by": [], "free": 5, "is_owner": True}
    markup = render("corpora", corpora=[view, nothing], **values)
    assert state in markup
    assert ('data-job="delete some-id"' in markup) == (state not in ACTIVE), "a running job must be stopped first"
    assert ('data-job="offer some-id"' in markup) == (state == "finished"), "a finished corpus can be pushed"
    assert state in render("corpus_report", view=nothing, report=None, **parts(full_report(), "substring"))
    assert "No corpus chosen" in render("corpus_report", view=None)
    visitors = render("corpora", corpora=[view, nothing], **{**values, "is_owner": False})
    assert state in visitors
    assert "data-job" not in visitors + render("preparing", corpora=[view, nothing], is_owner=False)
    assert ("some-id" in render("preparing", corpora=[view, nothing], is_owner=True)) == (state in ACTIVE)
    run = dataclasses.replace(run_page.views.run_view(home, "some-kea"), state=state)
    values = {"has_metrics": False, "push": None, "on_hub": None, "newest_evaluation": None}
    assert f"state-{state}" in render("strip", view=run, corpus=None, is_owner=False, **values)
    assert f"state-{state}" in render("strip", view=run, corpus=view, is_owner=True, **values)
    assert "some-kea" in render("runs", runs=[run], shown=None)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("queued", "Queued"),
        ("starting", "Starting"),
        ("running", "Uploading"),
        ("stopping", "Stopping"),
        ("stopped", "Press Push to go on"),
        ("finished", "Pushed"),
        ("failed", "Not pushed to me/files: no"),
        ("interrupted", "Not pushed to me/files: no"),
    ],
)
def test_a_push_of_a_corpus_is_shown_in_every_state(state: str, words: str) -> None:
    view = dataclasses.replace(corpus_view(Home(Path("nowhere")), "some-id"), state="finished")
    known = {"failed": {"error": "no"}, "interrupted": {"error": "no"}, "finished": {"url": "https://hub/me/files"}}
    shown = dataclasses.replace(push("me/files"), state=state, **known.get(state, {}))
    markup = render(
        "corpora",
        corpora=[view],
        pushes={"some-id": shown},
        chosen=None,
        doubtful=None,
        needed_by=[],
        free=5,
        is_owner=True,
    )
    assert words in markup
    assert ('href="https://hub/me/files"' in markup) == (state == "finished")
    assert ('data-job="stop-push some-id"' in markup) == (state in ("queued", "starting", "running"))


def test_a_push_without_details_is_shown() -> None:
    assert "Retrying" in render("pushes", pushes=[{"step": 1, "state": "retrying"}], repo=None)


def test_a_run_with_a_hostile_preset_and_error_stays_text(home: Home) -> None:
    folder = write_run(home, "evil-kea", state="failed", error=EVIL, message=EVIL)
    write_json(folder.request, {**(read_json(folder.request) or {}), "preset": EVIL})
    watched = RunPage.of(home, None, is_owner=True)
    assert_harmless(run_page.strip(watched))
    for markup in (run_page.problem(watched), run_page.runs_table(watched)):
        assert "script" in markup
        assert_harmless(markup)


def test_the_plan_shows_its_values_as_text(home: Home) -> None:
    setup = form_values.Setup(corpus="ready", preset="tiny", recipe="accelerate", changes={})
    forecast = form_values.forecast(home, setup)
    assert_harmless(render("plan", forecast=forecast, course=form_values.course_figures("accelerate"), warnings=[EVIL]))


@pytest.mark.parametrize("markup", [f"<p>{EVIL}</p>", f'<p title="{EVIL}">', "<iframe></iframe>", '<b onclick="x">'])
def test_the_check_sees_what_was_not_escaped(markup: str) -> None:
    """The control."""
    with pytest.raises(AssertionError):
        assert_harmless(markup)


def test_an_error_is_shown_escaped() -> None:
    assert "&lt;script&gt;" in notice(EVIL)


def test_a_missing_value_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError):
        render("notice", kind="bad")


@pytest.mark.parametrize("path", sorted((ASSETS / "templates").glob("*.j2")), ids=lambda path: path.name)
def test_no_template_switches_escaping_off(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert "|safe" not in source.replace(" ", "")
    assert "autoescape" not in source
    assert environment().autoescape is True
    environment().get_template(path.name)
