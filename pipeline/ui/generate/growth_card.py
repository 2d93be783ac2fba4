"""The card that shows how the answer to one prompt grew over the steps of a run."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Generator
from typing import Any

import gradio as gr

from pipeline.artifacts.revision import Revision
from pipeline.core.errors import PipelineError
from pipeline.generation.settings import Sampling
from pipeline.ui.generate.growth import MAX_STEPS, Growth, chosen, grown
from pipeline.ui.generate.readings import Readings, Written
from pipeline.ui.shared import charts
from pipeline.ui.shared.components import QUIET, card, picks
from pipeline.ui.shared.engine import Engine
from pipeline.ui.shared.field_errors import notice_of
from pipeline.ui.shared.formats import whole
from pipeline.ui.shared.markup import render
from pipeline.ui.shared.threads import stream

LOSS = next(chart for chart in charts.CHARTS if chart.name == "loss")


class GrowthCard:
    """Layout and handlers."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def build(self) -> None:
        with card("flush", elem_id="growth-card"):
            self.view = picks(render("growth_blank"), attribute="grow", elem_id="growth")

    def connect(self, written: gr.State) -> None:
        self.view.click(self.show, written, self.view, concurrency_limit=None, **QUIET)

    def updates(self, written: Written | None, request: gr.Request) -> dict[Any, str]:
        """Offer to follow another completion, or none."""
        return {self.view: self._offer(written, request)}

    async def show(self, written: Written | None, event: gr.EventData, request: gr.Request) -> AsyncIterator[str]:
        """What each step of the run writes for the prompt; `stop` ends it."""
        if event.value == "stop":
            self.engine.generator.stop(self.engine.page_key(request))
            return
        async for view in stream(self._show(written, request)):
            yield view

    def _show(self, written: Written | None, request: gr.Request) -> Generator[str, None, None]:
        if written is None:
            yield render("growth_blank")
            return
        try:
            readings = Readings(self.engine, written, request)
            steps = chosen(readings.run(readings.writer()))
            yield shown(Growth(written.prompt, steps))
            steps = [self.engine.revisions.fetch(revision) for revision in steps]
            sampling = Sampling(**written.sampling)
        except PipelineError as error:
            yield notice_of(error, {})
            return
        for growth in grown(self.engine.generator, Growth(written.prompt, steps), sampling, **readings.asker):
            yield shown(growth)

    def _offer(self, written: Written | None, request: gr.Request) -> str:
        if written is None or not isinstance(written.revision, Revision):
            return render("growth_blank")
        num_steps = min(len(Readings(self.engine, written, request).run(written.revision)), MAX_STEPS)
        return render("growth_offer", num_steps=num_steps) if num_steps > 1 else render("growth_blank")


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
