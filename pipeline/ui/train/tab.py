"""The Train tab: set up, start, stop and resume a run, and follow its progress.

Page load, buttons and page.js, when it has seen a change, cause a `refresh`, which sends only what this browser does not
show yet.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from pipeline.config.recipes import PRESETS, RECIPES
from pipeline.config.source_spec import corpus_id_of
from pipeline.core.errors import PipelineError
from pipeline.jobs.job import stop_job
from pipeline.jobs.restoring import resume_run
from pipeline.jobs.run_pushes import shared_repo
from pipeline.jobs.runs import find_run, retry_push
from pipeline.jobs.state import ACTIVE, RESUMABLE, RUNNING
from pipeline.jobs.views import run_views
from pipeline.ui.shared import charts, form_values
from pipeline.ui.shared.components import QUIET, ask, card, for_owners, head, html, picks
from pipeline.ui.shared.engine import Engine
from pipeline.ui.shared.field_errors import Field, Fields, labelled, notice_of
from pipeline.ui.shared.form_values import Setup
from pipeline.ui.shared.formats import compact, rate, whole
from pipeline.ui.shared.live_home import Snapshot
from pipeline.ui.shared.markup import blank, notice, render
from pipeline.ui.shared.texts import t
from pipeline.ui.shared.top_bar import TopBar
from pipeline.ui.shared.unlock import Unlock
from pipeline.ui.train import run_page
from pipeline.ui.train.evaluation_card import EvaluationCard
from pipeline.ui.train.run_page import RunPage

STOPPABLE = ("queued", "starting", "running")
MAX_NAME_CHARACTERS = 80

Updates = dict[Any, Any]
Keyed = dict[Any, tuple[Any, Any]]
"""By component: a key that changes when its content does, and the content or a function that makes it."""


@dataclass(frozen=True, kw_only=True)
class ClientState:
    """What one browser already shows."""

    run: str | None = None
    sent: dict[int, Any] = field(default_factory=dict)
    """By component id: the key of the content that was sent last."""


class TrainTab:
    """Layout and handlers."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.unlock = Unlock(engine.settings)
        self.evaluation = EvaluationCard(engine)

    # ---- layout ----

    def build(self) -> None:
        self.chosen = gr.State(None)
        self.shown = gr.State(None)
        self.offer = gr.State(None)
        self.unlock.build()
        with gr.Column(elem_classes=["card", "run-card"]):
            with gr.Row(elem_classes="run-row"):
                self.strip = html(elem_id="strip")
                with gr.Row(elem_classes=["actions", "owners"]):
                    self.stop = gr.Button(t("train.stop"), variant="stop", visible=False, elem_id="stop")
                    self.resume = gr.Button(t("train.resume"), variant="primary", visible=False, elem_id="resume")
                    self.retry = gr.Button(t("train.retry"), visible=False, elem_id="retry-push")
            self.problem = html(elem_id="problem")
            self.answer = html(elem_id="train-answer")
        with gr.Row(elem_classes=["split", "train-split"]):
            with gr.Column(elem_classes="side", min_width=0):
                self._build_setup()
                with card("fold"):
                    head(t("plan.title"), fold=True)
                    self.plan = html(elem_id="plan")
            with gr.Column(elem_classes="main", min_width=0):
                self._build_charts()
                self.evaluation.build()
                with card("flush"):
                    self.story = html(elem_id="story")
                self._build_tables()

    def _build_setup(self) -> None:
        with card("form-card", "fold", elem_id="setup"):
            head(t("train.setup"), fold=True)
            self.corpus = ask(gr.Dropdown, [], label=t("train.corpus"), filterable=False, elem_id="corpus")
            presets = [
                (t("train.preset.choice", title=p.title, layers=p.n_layer, width=p.n_embd), name)
                for name, p in PRESETS.items()
            ]
            self.preset = ask(
                gr.Dropdown, presets, value="tiny", label=t("train.preset"), filterable=False, elem_id="preset"
            )
            self.recipe = ask(
                gr.Radio,
                list(RECIPES),
                value="accelerate",
                label=t("train.recipe"),
                elem_classes="segments",
                elem_id="recipe",
            )
            self.recipe_note = html(elem_classes="under")
            self.numbers = [self._number("max_steps")]
            with gr.Accordion(t("advanced"), open=False, elem_id="advanced"):
                self.numbers += [self._number(name) for name in form_values.CHANGES[1:]]
            with gr.Row(elem_classes=["actions", "owners"]):
                self.start = gr.Button(t("train.start"), variant="primary", elem_id="start")
            for_owners(t("access.owners.train"))

    def _number(self, name: str) -> gr.Textbox:
        """A text field for a number. Empty means the recipe's value, which is shown as the placeholder."""
        return ask(gr.Textbox, label=t(f"train.{name}"), max_lines=1, elem_id=name.replace("_", "-"))

    def _build_charts(self) -> None:
        self.heads: dict[str, gr.HTML] = {}
        self.plots: dict[str, gr.HTML] = {}
        with gr.Column(elem_classes="picked"):
            html(render("picker", group="charts", names=[chart.name for chart in charts.CHARTS]))
            with card("charts-blank"):
                html(blank(t("charts.blank"), t("charts.blank.more")))
            with gr.Row(elem_classes=["pair", "charts"]):
                for chart in charts.CHARTS:
                    with card("chart", f"pick-{chart.name}"):
                        self.heads[chart.name] = html()
                        self.plots[chart.name] = html()

    def _build_tables(self) -> None:
        with gr.Column(elem_classes="picked"):
            html(render("picker", group="tables", names=["runs", "pushes", "log"]))
            with gr.Row(elem_classes=["pair", "tables"]):
                with card("flush", "pick-runs"):
                    self.runs = picks(attribute="run", elem_id="runs")
                with card("flush", "pick-pushes"):
                    self.pushes = html(elem_id="pushes")
                with card("flush", "wide-card", "pick-log"):
                    head(t("log.title"))
                    self.log = html(elem_id="log")

    def connect(self, page: gr.Blocks, bar: TopBar, tabs: gr.Tabs) -> None:
        self.tabs = tabs
        setup: list[Any] = [self.corpus, self.preset, self.recipe, *self.numbers]
        live: dict[str, Any] = {**QUIET, "queue": False, "concurrency_limit": None}
        seen = [self.chosen, self.shown, self.corpus]
        views = [
            self.chosen, self.shown, self.offer, self.corpus, self.strip, self.problem, self.stop, self.resume, self.retry, self.start,
            *self.heads.values(), *self.plots.values(), *self.evaluation.views, self.story, self.runs, self.pushes, self.log,
        ]  # fmt: skip
        forecast_outputs = [self.plan, self.recipe_note, *self.numbers]
        page.load(self.open_runs, seen, [*views, self.answer, tabs], **live).then(
            self.forecast, setup, forecast_outputs, **live
        )
        bar.changed["train"].click(self.poll_runs, seen, views, trigger_mode="always_last", **live)
        # Also when the offered corpora change: the plan is more precise once the corpus is ready.
        gr.on(
            [item.change for item in [*setup, self.offer]],
            self.forecast,
            setup,
            forecast_outputs,
            trigger_mode="always_last",
            **live,
        )

        after: dict[str, Any] = {"fn": self.refresh, "inputs": seen, "outputs": views, **live}
        bar.owner_changed.click(**after)
        self.evaluation.connect(self.shown, after)
        self.start.click(self.begin, setup, [self.answer, self.chosen], queue=False, **QUIET).then(**after)
        self.stop.click(self.end, self.shown, self.answer, queue=False, **QUIET).then(**after)
        self.resume.click(self.go_on, self.shown, [self.answer, self.chosen], queue=False, **QUIET).then(**after)
        self.retry.click(self.push_again, self.shown, self.answer, queue=False, **QUIET).then(**after)
        self.runs.click(self.choose, None, [self.chosen, self.answer], queue=False, **QUIET).then(**after)

    # ---- handlers of buttons ----

    def begin(self, request: gr.Request, corpus: str, preset: str, recipe: str, *numbers: Any) -> tuple[str, Any]:
        """Start or queue the configured run, and show it unless another one is running. Pressed twice, it starts only
        one run.
        """
        try:
            self.engine.access.require(request, "start", corpus or "")
            setup = Setup.of_inputs(corpus, preset, recipe, *numbers)
            run = form_values.start(self.engine.settings, setup, request.session_hash or "", self.engine.offer.known())
        except PipelineError as error:
            return notice_of(error, form_fields()), gr.skip()
        is_alone = all(view.run == run or view.state not in RUNNING for view in run_views(self.engine.home))
        return "", run if is_alone else gr.skip()

    def end(self, shown: ClientState | None, request: gr.Request) -> str:
        """Ask the run that this browser shows to save and stop."""
        try:
            self.engine.access.require(request, "stop", _run_of(shown))
            stop_job(self.engine.settings, find_run(self.engine.settings, _run_of(shown)))
        except PipelineError as error:
            return notice(str(error))
        return ""

    def go_on(self, shown: ClientState | None, request: gr.Request) -> tuple[str, Any]:
        """Resume the run that this browser shows."""
        try:
            self.engine.access.require(request, "resume", _run_of(shown))
            run = resume_run(self.engine.settings, _run_of(shown), queue=True)
        except PipelineError as error:
            return notice(str(error)), gr.skip()
        return "", run

    def push_again(self, shown: ClientState | None, request: gr.Request) -> str:
        """Try the push again that this browser's run waits for."""
        try:
            self.engine.access.require(request, "retry push", _run_of(shown))
            retry_push(self.engine.settings, _run_of(shown))
        except PipelineError as error:
            return notice(str(error))
        return ""

    def choose(self, event: gr.EventData) -> tuple[str, str]:
        """Show another run."""
        return str(event.value), ""

    # ---- refreshing what is shown ----

    def refresh(self, chosen: str | None, shown: ClientState | None, corpus: str | None, request: gr.Request) -> Any:
        """Updates for everything that changed since the last ones for this browser; for the owner read now, so that the
        effect of the last click is seen.
        """
        reading = self.engine.live.reading(fresh=self.engine.access.of(request).allowed)
        return self._updates(chosen, shown, corpus, request, reading)

    def open_runs(self, chosen: str | None, shown: ClientState | None, corpus: str | None, request: gr.Request) -> Any:
        """The same for a page that is opened, with the run that its URL names."""
        name = request.query_params.get("run")
        if not name:
            return self.refresh(chosen, shown, corpus, request)
        is_there = any(view.run == name for view in self.engine.live.reading().view.runs)
        answer = "" if is_there else notice(t("link.no_run", name=name[:MAX_NAME_CHARACTERS]))
        updates = self.refresh(name if is_there else chosen, shown, corpus, request)
        linked = {self.chosen: name} if is_there else {}
        return {**updates, **linked, self.answer: answer, self.tabs: gr.Tabs(selected="train")}

    def poll_runs(self, chosen: str | None, shown: ClientState | None, corpus: str | None, request: gr.Request) -> Any:
        """The same, from the reading that is shared by all open pages."""
        return self._updates(chosen, shown, corpus, request, self.engine.live.reading())

    def _updates(
        self, chosen: str | None, shown: ClientState | None, corpus: str | None, request: gr.Request, reading: Snapshot
    ) -> Any:
        shown = shown or ClientState()
        page, html = self._read(chosen, reading, is_owner=self.engine.access.of(request).allowed)
        run = page.view.run if page.view else None
        fresh = {
            **html,
            **self._buttons(page),
            **self._corpora(page, corpus, previous=shown.sent.get(self.corpus._id, ())),
        }
        updates = {
            part: value() if callable(value) else value
            for part, (key, value) in fresh.items()
            if shown.sent.get(part._id) != key
        }
        keys = {part._id: key for part, (key, _) in fresh.items()}
        now = ClientState(run=run, sent={**shown.sent, **keys})
        return {self.shown: now, **updates}

    def _read(self, chosen: str | None, reading: Snapshot, *, is_owner: bool) -> tuple[RunPage, Keyed]:
        """A run and its HTML, which visitors share."""

        def read() -> tuple[RunPage, Keyed]:
            page = RunPage.of(self.engine.home, chosen, is_owner=is_owner, seen=reading.view)
            return page, self._html(page)

        if is_owner:
            return read()
        if all(run.run != chosen for run in reading.view.runs):
            chosen = None  # a visitor must not cause work for runs that do not exist
        return self.engine.recent.of(("run", chosen, reading.version), read)

    def _html(self, page: RunPage) -> Keyed:
        """The HTML of each component, with its hash as the key."""
        texts = {
            self.strip: run_page.strip(page),
            self.problem: run_page.problem(page),
            **self.evaluation.texts(page),
            self.story: run_page.story(page),
            self.runs: run_page.runs_table(page),
            self.pushes: run_page.pushes_table(page, self.engine.settings.hub_repo),
            self.log: run_page.log(page),
        }
        for name, drawn in run_page.drawings(page).items():
            texts |= {self.heads[name]: charts.head(drawn), self.plots[name]: charts.plot(drawn)}
        return {part: (hash(text), text) for part, text in texts.items()}

    def _buttons(self, page: RunPage) -> Keyed:
        state = page.view.state if page.view else "idle"
        can_resume = page.view is None or page.view.can_resume
        is_busy = any(run.state in ACTIVE for run in page.runs)
        fault = page.view and page.view.push_fault
        waits = bool(fault and fault.can_retry and fault.repo == self.engine.settings.repo)
        label = t("train.queue") if is_busy else t("train.start")
        return {
            **self.evaluation.buttons(page),
            self.stop: (state, lambda: gr.update(visible=state in STOPPABLE)),
            self.resume: ((state, can_resume), lambda: gr.update(visible=state in RESUMABLE and can_resume)),
            self.retry: (waits, lambda: gr.update(visible=waits)),
            self.start: (label, lambda: gr.update(value=label, variant="secondary" if is_busy else "primary")),
        }

    def _corpora(self, page: RunPage, value: str | None, *, previous: Collection[tuple[str, str]]) -> Keyed:
        """Choices of the corpus field: corpora that are ready or being prepared, and the offer to prepare one.

        `previous`: the choices sent before. While the offer is selected, a corpus that is not among them becomes the
        selection: the person who prepared it wants to train on it.
        """
        choices = [
            (
                t("train.corpus.ready", corpus=view.corpus, tokens=compact(view.tokens_train))
                if view.state == "finished"
                else t("train.corpus.coming", corpus=view.corpus, state=t(f"state.{view.state}").lower()),
                view.corpus,
            )
            for view in page.corpora
            if view.state == "finished" or view.state in ACTIVE
        ]
        first = corpus_id_of(self.engine.offer.known())
        if not any(view.corpus == first for view in page.corpora):
            choices.append((t("train.corpus.new", corpus=first), ""))
        values = [choice for _, choice in choices]
        new = [choice for choice in values if choice not in {choice for _, choice in previous}]
        selected = value if value in values and not (value == "" and new) else next(iter(new or values), None)
        offer = tuple(choices)
        return {self.corpus: (offer, lambda: gr.Dropdown(choices, value=selected)), self.offer: (offer, offer)}

    def forecast(self, corpus: str, preset: str, recipe: str, *numbers: Any) -> Updates:
        """The plan of the configured run, and the recipe's values as placeholders of the empty fields."""
        note = render("aside", text=RECIPES[recipe].title)
        try:
            forecast = form_values.forecast(self.engine.home, Setup.of_inputs(corpus, preset, recipe, *numbers))
        except PipelineError as error:
            return {self.plan: notice_of(error, form_fields()), self.recipe_note: note}
        training = forecast.config.training
        updates: Updates = {
            self.plan: render(
                "plan",
                forecast=forecast,
                course=form_values.course_figures(recipe),
                warnings=[
                    *(labelled(warning, form_fields()) for warning in forecast.plan.warnings),
                    *filter(None, [shared_repo(self.engine.home, self.engine.settings.hub_repo)]),
                ],
            ),
            self.recipe_note: note,
        }
        for name, number in zip(form_values.CHANGES, self.numbers, strict=True):
            value = getattr(training, name)
            updates[number] = gr.update(placeholder=rate(value) if isinstance(value, float) else whole(value))
        return updates


def form_fields() -> Fields:
    """The fields of the set-up."""
    names = ("corpus", "preset", "recipe", *form_values.CHANGES)
    return {name: Field(t(f"train.{name}"), name.replace("_", "-")) for name in names}


def _run_of(shown: ClientState | None) -> str:
    return (shown and shown.run) or ""
