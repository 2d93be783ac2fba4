"""The card that shows how the answer to one prompt grew over the steps of a run."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Generator
from typing import Any

import gradio as gr

from pipeline.artifacts.revision import Revision
from pipeline.core.errors import PipelineError
from pipeline.generation.settings import Sampling
from pipeline.ui.generate.growth import Growth, chosen, grown
from pipeline.ui.generate.readings import Readings, Written
from pipeline.ui.generate.writing import CardTurns
from pipeline.ui.shared import charts
from pipeline.ui.shared.components import QUIET, card, picks, tells
from pipeline.ui.shared.engine import Engine
from pipeline.ui.shared.formats import whole
from pipeline.ui.shared.markup import render
from pipeline.ui.shared.threads import stream

LOSS = next(chart for chart in charts.CHARTS if chart.name == "loss")


class GrowthCard:
    """Layout and handlers."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.turns = CardTurns()
        """What the card of each page shows: a growth, until there is another completion or growth."""
        self.stops = CardTurns()
        """The growths that Stop has ended."""

    def build(self) -> None:
        with card("flush", elem_id="growth-card"):
            self.view = picks(
                render("growth_blank"), attribute="grow", elem_id="growth", js_more=tells("studio-growth")
            )  # tokens.js

    def connect(self, written: gr.State) -> None:
        # Two events: one that is pending takes no further press.
        self.view.click(self.show_growth, written, self.view, concurrency_limit=None, **QUIET)
        self.view.click(self.end_growth, None, None, queue=False, trigger_mode="multiple", **QUIET)

    def updates(self, written: Written | None, request: gr.Request) -> dict[Any, str]:
        """Offer to follow another completion, or none, and end what is followed."""
        page_key = self.engine.page_key(request)
        self.turns.begin(page_key)
        if "generator" in vars(self.engine):
            self.engine.generator.stop(_asked_by(page_key))
        return {self.view: self._offer(written, request)}

    async def show_growth(
        self, written: Written | None, event: gr.EventData, request: gr.Request
    ) -> AsyncIterator[str | dict[str, Any]]:
        """What each step of the run writes for the prompt."""
        if event.value != "show":
            yield gr.skip()
            return
        async for view in stream(self._show(written, request)):
            yield view

    def end_growth(self, event: gr.EventData, request: gr.Request) -> None:
        """Stop the growth of this page, and what it is writing."""
        if event.value == "stop":
            page_key = self.engine.page_key(request)
            self.stops.begin(page_key)
            self.engine.generator.stop(_asked_by(page_key))

    def _show(self, written: Written | None, request: gr.Request) -> Generator[str, None, None]:
        if written is None:
            yield render("growth_blank")
            return
        page_key = self.engine.page_key(request)
        turn, stop = self.turns.begin(page_key), self.stops.begin(page_key)
        growth = Growth(written.prompt, [])
        try:
            readings = Readings(self.engine, written, request)
            growth.steps = chosen(readings.run(readings.writer()))
            yield shown(growth)
            sampling = Sampling(**written.sampling)
        except PipelineError as error:
            growth.error, growth.is_live = error, False
            yield shown(growth)
            return
        for now in grown(
            self.engine.generator,
            growth,
            sampling,
            fetch=self.engine.revisions.fetch,
            is_stopped=lambda: self.stops.is_over(page_key, stop),
            visitor=self.engine.visitor_key(request),
            asked_by=_asked_by(page_key),
        ):
            if self.turns.is_over(page_key, turn):
                return
            yield shown(now)

    def _offer(self, written: Written | None, request: gr.Request) -> str:
        if written is None or not isinstance(written.revision, Revision):
            return render("growth_blank")
        num_steps = len(chosen(Readings(self.engine, written, request).run(written.revision)))
        return render("growth_offer", num_steps=num_steps) if num_steps > 1 else render("growth_blank")


def _asked_by(page_key: str) -> str:
    """The key by which the growth of a page is stopped, without what else the page writes; "" without a session."""
    return f"{page_key}:growth" if page_key else ""


def shown(growth: Growth) -> str:
    """The HTML of the card."""
    return render(
        "growth",
        growth=growth,
        labels=json.dumps([whole(revision.step) for revision in growth.written]),
        drawing=charts.drawing(LOSS, growth.metrics),
        width=charts.WIDTH,
        height=charts.HEIGHT,
    )
