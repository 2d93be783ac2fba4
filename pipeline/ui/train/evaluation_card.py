"""The card of evaluations on the Train tab: their curves and figures, the job that makes them, and its buttons."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from pipeline.core.errors import PipelineError
from pipeline.jobs.evaluations import WHICH, revisions_of, start_evaluating, stop_evaluating
from pipeline.jobs.runs import find_run
from pipeline.jobs.state import ACTIVE
from pipeline.ui.shared.components import QUIET, ask, card, html
from pipeline.ui.shared.engine import Engine
from pipeline.ui.shared.markup import notice
from pipeline.ui.shared.texts import t
from pipeline.ui.train import run_page
from pipeline.ui.train.run_page import RunPage


class EvaluationCard:
    """Layout and handlers."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def build(self) -> None:
        with card("flush", elem_id="evaluations-card"):
            self.evaluations = html(elem_id="evaluations")
            self.evaluating = html(elem_id="evaluating")
            with gr.Row(elem_classes=["actions", "owners", "evaluate-row"]):
                self.which = ask(
                    gr.Radio,
                    [(t(f"evaluate.{name}"), name) for name in WHICH],
                    value=WHICH[0],
                    label=t("evaluate.which"),
                    show_label=False,
                    container=False,
                    elem_classes="segments",
                    elem_id="which-revisions",
                )
                self.evaluate = gr.Button(t("evaluate.start"), elem_id="evaluate")
                self.stop = gr.Button(t("evaluate.stop"), variant="stop", visible=False, elem_id="stop-evaluating")
            self.answer = html(elem_id="evaluate-answer")

    @property
    def views(self) -> list[Any]:
        """What a refresh of the tab renews."""
        return [self.evaluations, self.evaluating, self.which, self.evaluate, self.stop]

    def connect(self, shown: gr.State, after: dict[str, Any]) -> None:
        """`after`: the event that refreshes the tab."""
        start, pressed = [self.which, shown], {"queue": False, **QUIET}
        self.evaluate.click(self.begin_evaluating, start, self.answer, **pressed).then(**after)
        self.stop.click(self.end_evaluating, None, self.answer, **pressed).then(**after)

    def texts(self, page: RunPage) -> dict[Any, str]:
        return {self.evaluations: run_page.evaluations(page), self.evaluating: run_page.evaluating(page)}

    def buttons(self, page: RunPage) -> dict[Any, tuple[Any, Callable[[], Any]]]:
        state = page.evaluating.state if page.evaluating else ""
        is_active = state in ACTIVE
        can_stop = is_active and state != "stopping"
        return {
            self.which: (is_active, lambda: gr.update(visible=not is_active)),
            self.evaluate: (is_active, lambda: gr.update(visible=not is_active)),
            self.stop: (can_stop, lambda: gr.update(visible=can_stop)),
        }

    def begin_evaluating(self, which: str, shown: Any, request: gr.Request) -> str:
        """Evaluate revisions of the run that this browser shows. Pressed twice, it starts only one evaluation."""
        run = (shown and shown.run) or ""
        try:
            self.engine.access.require(request, "evaluate", run)
            find_run(self.engine.settings, run)
            chosen = revisions_of(self.engine.home, self.engine.revisions, run, which or "")
            start_evaluating(self.engine.settings, chosen, run=run)
        except PipelineError as error:
            return notice(str(error))
        return ""

    def end_evaluating(self, request: gr.Request) -> str:
        """Ask the evaluation to stop; what is complete stays."""
        try:
            self.engine.access.require(request, "stop_evaluation")
            stop_evaluating(self.engine.settings)
        except PipelineError as error:
            return notice(str(error))
        return ""
