"""Preparing a corpus: the form and its forecast, the list of corpora, the report of one, pushing, deleting.

Page load, buttons and page.js, when it has seen a change, cause a `refresh`.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import gradio as gr

from pipeline.artifacts.starter import STARTER
from pipeline.config.recipes import PRESETS
from pipeline.config.schema import DEFAULT_CORPUS, DataConfig, ExecutionConfig
from pipeline.config.source_spec import corpus_id_of
from pipeline.core.atomic_io import readable_json
from pipeline.core.errors import FieldError, PipelineError
from pipeline.core.paths import CORPUS_ID
from pipeline.jobs.corpora import delete_corpus, find_corpus, resumable_on
from pipeline.jobs.job import resume_job, stop_job
from pipeline.jobs.state import ACTIVE
from pipeline.jobs.view_types import CorpusView, HomeView
from pipeline.jobs.views import corpus_views
from pipeline.planning import free_bytes
from pipeline.ui.data import corpus_form, report_view
from pipeline.ui.data.corpus_form import CorpusSetup
from pipeline.ui.data.inspect_card import InspectCard
from pipeline.ui.data.push_form import PushForm
from pipeline.ui.data.scans import Key
from pipeline.ui.data.source_fields import source_fields
from pipeline.ui.data.tab import DataTab
from pipeline.ui.shared import form_values
from pipeline.ui.shared.components import QUIET, ask, card, for_owners, head, html, picks
from pipeline.ui.shared.engine import Engine
from pipeline.ui.shared.field_errors import Field, Fields, notice_of
from pipeline.ui.shared.live_home import Snapshot
from pipeline.ui.shared.markup import notice, render
from pipeline.ui.shared.privacy import corpus_for_visitors
from pipeline.ui.shared.texts import t
from pipeline.ui.shared.top_bar import TopBar

NUM_SOURCE_INPUTS = 5
"""Number of the source card's inputs, which come before the form's; the first of the form's is the corpus name."""
RECORDED = ("stop", "stop-push", "resume", "prepare", "delete")
"""Actions of the list's buttons that change something; the audit log records them."""

Updates = dict[Any, Any]


class PrepareCard:
    def __init__(self, engine: Engine, data: DataTab) -> None:
        self.engine = engine
        self.data = data
        self.push = PushForm(engine)
        self.inspect = InspectCard(engine, data)

    # ---- layout ----

    def build(self) -> None:
        """Build the form, inside the side column."""
        self.offered = gr.State(DEFAULT_CORPUS)
        with card("form-card", "fold", elem_id="prepare-card"):
            head(t("prepare.title"), fold=True)
            html(render("aside", text=t("prepare.what")))
            self.name = ask(
                gr.Textbox, value=DEFAULT_CORPUS, label=t("prepare.name"), max_lines=1, elem_id="corpus-name"
            )
            vocabularies = [
                (t("prepare.vocabulary.choice", size=f"{preset.vocab_size:,}", preset=preset.title), preset.vocab_size)
                for preset in PRESETS.values()
            ]
            fields: dict[str, Any] = {
                "vocab_size": ask(
                    gr.Dropdown,
                    vocabularies,
                    value=vocabularies[0][1],
                    label=t("prepare.vocabulary"),
                    filterable=False,
                    elem_id="vocabulary",
                ),
                "max_files": self._field("max_files", placeholder=t("prepare.max_files.all")),
                "windows": ask(
                    gr.Radio,
                    [(t(f"prepare.windows.{way}"), way) for way in ("join", "drop")],
                    value=DataConfig.windows,
                    label=t("prepare.windows"),
                    info=t("prepare.windows.info"),
                    elem_id="windows",
                    elem_classes="segments",
                ),
            }
            self.as_codeparrot = ask(gr.Checkbox, label=t("prepare.as_codeparrot"), elem_id="as-codeparrot")
            with gr.Accordion(t("advanced"), open=False, elem_id="prepare-advanced"):
                fields |= {
                    "window": self._field("window", placeholder=str(DataConfig.window)),
                    "validation_share": self._field("validation_share", placeholder=str(DataConfig.validation_share)),
                    "validation_source": self._field("validation_source", placeholder=t("prepare.source.example")),
                    "max_validation_files": self._field("max_validation_files", placeholder=t("prepare.max_files.all")),
                    "tokenizer": self._field("tokenizer", placeholder=t("prepare.tokenizer.trained")),
                }
                self.workers = self._field("workers", placeholder=str(ExecutionConfig.workers))
                with gr.Accordion(t("prepare.quality"), open=False, elem_id="quality"):
                    self.rules = [self._rule(rule) for rule in corpus_form.RULES]
            self.fields = [fields[name] for name in corpus_form.FIELDS]
            self.plan = html(elem_id="corpus-plan")
            with gr.Row(elem_classes=["actions", "owners"]):
                self.button = gr.Button(t("prepare.start"), variant="primary", elem_id="prepare")
                self.scan_all = gr.Button(t("prepare.scan_all"), elem_id="scan-all")
            for_owners(t("access.owners.prepare"))
            self.answer = html(elem_id="prepare-answer")
            self.running = picks(attribute="job", elem_id="preparing")

    def _field(self, name: str, **settings: Any) -> gr.Textbox:
        """A text field whose placeholder shows what an empty value means."""
        return ask(gr.Textbox, label=t(f"prepare.{name}"), max_lines=1, elem_id=elem_id(name), **settings)

    def _rule(self, rule: str) -> gr.Checkbox | gr.Textbox:
        if rule in corpus_form.SWITCHES:
            return ask(gr.Checkbox, label=t(f"quality.{rule}"), elem_id=elem_id(rule))
        return ask(
            gr.Textbox,
            label=t(f"quality.{rule}"),
            placeholder=t("prepare.rule.off"),
            max_lines=1,
            elem_id=elem_id(rule),
        )

    def build_guide(self) -> None:
        """Build the steps of a first visit."""
        self.guide = html(elem_id="guide")

    def build_list(self) -> None:
        """Build the list of corpora, the report of one and its tokens, inside the main column."""
        self.chosen = gr.State(None)
        self.doubtful = gr.State(None)
        with card("flush"):
            self.corpora = picks(attribute="job", elem_id="corpora")
            self.push.build()
        with card("flush", "owners", elem_id="report-card"):
            self.report = picks(attribute="job", elem_id="corpus-report")
        self.inspect.build()

    def connect(self, page: gr.Blocks, bar: TopBar) -> None:
        shown = gr.State(None)
        data = self.data
        source = [data.kind, data.path, data.repo, data.keywords, data.match]
        assert len(source) == NUM_SOURCE_INPUTS
        form = [*source, self.name, self.workers, *self.fields, *self.rules]
        live: dict[str, Any] = {**QUIET, "queue": False, "concurrency_limit": None}
        self.shown = shown
        after: dict[str, Any] = {
            "fn": self.refresh,
            "inputs": [shown, self.chosen, self.doubtful],
            "outputs": [shown, self.guide, self.running, self.corpora, self.report],
            **live,
        }
        self.button.click(self.prepare, form, [self.answer, self.chosen], queue=False, **QUIET).then(**after)
        self.scan_all.click(self.scan, form, [self.answer, self.chosen], queue=False, **QUIET).then(**after)
        follows: dict[str, Any] = {**QUIET, "queue": False, "trigger_mode": "always_last"}
        named: list[Any] = [data.kind, data.path, data.repo, self.name, self.offered]
        gr.on([part.change for part in named[:3]], self.follow, named, [self.name, self.offered], **follows)
        outputs = [self.answer, self.chosen, self.doubtful]
        clicks = [self.running.click, self.corpora.click, self.report.click]
        gr.on(clicks, self.act, [self.chosen, self.doubtful], outputs, queue=False, **QUIET).then(**after)
        self.push.connect(clicks, after)
        # Runs in the browser, so that Prepare, pressed immediately, sends the values that the fields show.
        self.as_codeparrot.input(None, self.as_codeparrot, self.rules, js=fill_rules(), queue=False, **QUIET)
        forecast_event: dict[str, Any] = {
            "fn": self.forecast,
            "inputs": [data.key, *form],
            "outputs": self.plan,
            **live,
        }
        page.load(**after).then(**forecast_event)
        for scan_event in data.looked:
            scan_event.then(**forecast_event)
        # Also when the list changes: a finished corpus gives the throughput for the forecast of another one.
        gr.on([part.change for part in [self.corpora, data.key, *form]], **forecast_event, trigger_mode="always_last")
        bar.changed["data"].click(**{**after, "fn": self.poll_corpora}, trigger_mode="always_last")
        bar.owner_changed.click(**after)
        self.inspect.connect(self.chosen, self.fields[corpus_form.FIELDS.index("window")], self.corpora)

    # ---- handlers of buttons ----

    def prepare(self, request: gr.Request, *values: Any) -> tuple[str, Any]:
        """Request the corpus that the source card and this form describe."""
        return self._submit(request, values, only_scan=False)

    def scan(self, request: gr.Request, *values: Any) -> tuple[str, Any]:
        """Request only the report of the whole source."""
        return self._submit(request, values, only_scan=True)

    def _submit(self, request: gr.Request, values: tuple[Any, ...], *, only_scan: bool) -> tuple[str, Any]:
        try:
            self.engine.access.require(request, "scan" if only_scan else "prepare", values[NUM_SOURCE_INPUTS] or "")
            corpus = setup_of(values).start(self.engine.settings, only_scan=only_scan)
        except PipelineError as error:
            return notice_of(error, form_fields(values)), gr.skip()
        message = t("prepare.scan_asked", corpus=corpus) if only_scan else t("prepare.asked", corpus=corpus)
        return notice(message, kind="good"), corpus

    def follow(self, kind: str, path: str | None, repo: str | None, name: str | None, offered: str) -> tuple[Any, str]:
        """The name of the corpus follows the source until somebody edits it; an emptied field follows again."""
        new = corpus_id_of(form_values.source_spec(kind, path, repo))
        # Not the name that is there already: somebody may have begun to edit it.
        is_followed = name in (None, "", offered) and name != new
        return (new if is_followed else gr.skip()), new

    def act(
        self, chosen: str | None, doubtful: str | None, event: gr.EventData, request: gr.Request
    ) -> tuple[str, Any, Any]:
        """Handle a button of the list. The event's value is `stop ID`, `resume ID`, `prepare ID`, `show ID`, `ask ID`,
        `delete ID`, `keep ID` or `stop-push ID`; `offer ID` is for the push form, which opens at the same event.

        `delete` works only after `ask`, which shows what will be deleted.
        """
        action, _, corpus = str(event.value).partition(" ")
        settings = self.engine.settings
        try:
            self.engine.access.require(request, action if action in RECORDED else "", corpus)
            if action == "stop":
                stop_job(settings, find_corpus(settings, corpus))
            elif action == "stop-push":
                stop_job(settings, find_corpus(settings, corpus).push)
            elif action == "resume":
                resume_job(settings, find_corpus(settings, corpus), queue=True)
            elif action == "prepare":
                corpus_form.prepare_scanned(settings, corpus)
            elif action == "delete" and corpus == doubtful:
                delete_corpus(settings, corpus)
                return notice(t("corpora.deleted", corpus=corpus), kind="good"), None, None
            elif action == "ask":
                return "", gr.skip(), corpus
        except PipelineError as error:
            return notice(str(error)), gr.skip(), None
        return "", chosen if action == "keep" else corpus, None

    # ---- refreshing what is shown ----

    def refresh(
        self, request: gr.Request, shown: dict[str, int] | None, chosen: str | None, doubtful: str | None
    ) -> Updates:
        """Updates for everything that changed since the last ones for this browser; for the owner read now, so that the
        effect of the last click is seen.
        """
        reading = self.engine.live.reading(fresh=self.engine.access.of(request).allowed)
        return self._updates(request, shown, chosen, doubtful, reading)

    def poll_corpora(
        self, request: gr.Request, shown: dict[str, int] | None, chosen: str | None, doubtful: str | None
    ) -> Updates:
        """The same, from the reading that is shared by all open pages."""
        return self._updates(request, shown, chosen, doubtful, self.engine.live.reading())

    def _updates(
        self,
        request: gr.Request,
        shown: dict[str, int] | None,
        chosen: str | None,
        doubtful: str | None,
        reading: Snapshot,
    ) -> Updates:
        if self.engine.access.of(request).allowed:
            parts = self._parts(reading.view, chosen, doubtful, is_owner=True)
        else:
            parts = self.engine.recent.of(("corpora", reading.version), lambda: self._for_visitors(reading.view))
        keys = {str(part._id): hash(value) for part, value in parts.items()}
        previous = shown or {}
        updates: Updates = {
            part: value for part, value in parts.items() if previous.get(str(part._id)) != keys[str(part._id)]
        }
        return {self.shown: keys, **updates} if updates else {self.shown: gr.skip()}

    def forecast(self, request: gr.Request, key: Key | None, *values: Any) -> str:
        """The plan of the form as it is now. A visitor's plan uses earlier corpora only when its source is public."""
        try:
            setup = setup_of(values)
            corpora = self._usable_corpora(request, setup.config.source)
            forecast = corpus_form.forecast(self.engine.home, setup, self.engine.scans.found(key), corpora)
        except PipelineError as error:
            if isinstance(error, FieldError) and (error.name, error.value) == ("source", ""):
                return render("hint", text=t("forecast.no_source"))  # nobody has written one yet
            return notice_of(error, form_fields(values))
        return render("corpus_plan", forecast=forecast, config=setup.config)

    def _usable_corpora(self, request: gr.Request, source: str) -> list[CorpusView]:
        """The corpora that a plan for `source` may use. The sizes of a private corpus would reveal that it exists."""
        is_open = self.engine.access.of(request).allowed or self.engine.reading.is_public(source)
        return corpus_views(self.engine.home) if is_open else []

    def _for_visitors(self, seen: HomeView) -> Updates:
        # Not the pushes: visitors must not see private datasets.
        public = replace(seen, corpora=[*map(corpus_for_visitors, seen.corpora)], pushes={})
        return self._parts(public, None, None, is_owner=False)

    def _parts(self, seen: HomeView, chosen: str | None, doubtful: str | None, *, is_owner: bool) -> Updates:
        view = self._report_corpus(seen.corpora, chosen) if is_owner else None
        return {
            self.guide: guide(seen, is_owner=is_owner, has_own=self._has_own()),
            self.running: render("preparing", corpora=seen.corpora, is_owner=is_owner),
            self.corpora: render(
                "corpora",
                corpora=seen.corpora,
                pushes=seen.pushes,
                doubtful=doubtful,
                needed_by=resumable_on(self.engine.home, doubtful) if doubtful and is_owner else [],
                chosen=view.corpus if view else None,
                free=free_bytes(self.engine.home.path),
                is_owner=is_owner,
            ),
            self.report: self._report(view),
        }

    def _has_own(self) -> bool:
        return any(revision.repo != STARTER for revision in self.engine.revisions.known())

    def _report_corpus(self, corpora: list[CorpusView], chosen: str | None) -> CorpusView | None:
        """The corpus whose report is shown: the chosen one, else one that is being filtered."""
        if found := next((view for view in corpora if view.corpus == chosen), None):
            return found
        return next((view for view in corpora if view.state in ACTIVE and view.stage == "filter"), None)

    def _report(self, view: CorpusView | None) -> str:
        if view is None:
            return render("corpus_report", view=None)
        folder = self.engine.home.corpus(view.corpus)
        report = readable_json(folder.report) or None
        parts = report_view.parts(report, view.match, view.warnings) if report else {}
        return render("corpus_report", view=view, report=report, **parts)


def guide(seen: HomeView, *, is_owner: bool, has_own: bool = False) -> str:
    """The steps of a first visit: look, train, ask; the next one is marked. Empty once a run has finished. `has_own`:
    whether a model answers that was trained here, and no longer the starter.
    """
    corpus = next((view for view in seen.corpora if view.state == "finished"), None)
    run = next((view.run for view in seen.runs if view.state in ACTIVE), None)
    if any(view.state == "finished" for view in seen.runs):
        step = 0
    elif run is None and any(view.step for view in seen.runs):
        step = 3
    else:
        step = 2 if run or corpus else 1
    return render("guide", step=step, corpus=corpus, run=run, is_owner=is_owner, has_own=has_own or step == 3)


def setup_of(values: tuple[Any, ...]) -> CorpusSetup:
    """Raises InputError for an invalid value."""
    kind, path, repo, keywords, match, name, workers, *others = values
    source = form_values.checked_source(kind, path, repo)
    return CorpusSetup.of_inputs(source, form_values.keyword_list(keywords), match, name, workers, others)


def form_fields(values: tuple[Any, ...]) -> Fields:
    """The fields of the source card and of this form, whose inputs have `values`."""
    named = {name: Field(t(f"prepare.{name}"), elem_id(name)) for name in (*corpus_form.FIELDS[1:], "workers")}
    rules = {rule: Field(t(f"quality.{rule}"), elem_id(rule)) for rule in corpus_form.RULES}
    return {
        **source_fields(values[0]),
        CORPUS_ID: Field(t("prepare.name"), "corpus-name"),
        "vocab_size": Field(t("prepare.vocabulary"), "vocabulary"),
        **named,
        **rules,
    }


def elem_id(setting: str) -> str:
    return setting.replace("_", "-")


def fill_rules() -> str:
    """JavaScript function that maps the state of the CodeParrot switch to the values of the rules' fields."""
    on, off = (json.dumps([_field_value(value) for value in values]) for values in _rule_values())
    return f"(on) => on ? {on} : {off}"


def _rule_values() -> tuple[list[Any], list[Any]]:
    return corpus_form.codeparrot_values(), corpus_form.plain_values()


def _field_value(value: Any) -> Any:
    return value if isinstance(value, bool) else f"{value:g}" if value != "" else ""
