"""The card that shows what was written token by token: how sure the model was of each, and how it came to expect it."""

from __future__ import annotations

import json
from typing import Any

import gradio as gr

from pipeline.artifacts.revision import window_of
from pipeline.core.errors import PipelineError
from pipeline.ui.generate.readings import Asked, Readings, Written
from pipeline.ui.generate.shading import shaded
from pipeline.ui.generate.writing import CardTurns
from pipeline.ui.shared.components import QUIET, card, html, picks
from pipeline.ui.shared.engine import Engine
from pipeline.ui.shared.field_errors import notice_of
from pipeline.ui.shared.formats import whole
from pipeline.ui.shared.markup import render
from pipeline.ui.shared.threads import wait_for


class TokenCard:
    """Layout and handlers."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.turns = CardTurns()
        """What the card of each page shows."""

    def build(self) -> None:
        self.written = gr.State(None)
        with card("flush", elem_id="token-card"):
            self.view = picks(render("tokens_blank"), attribute="read", elem_id="tokens")
            self.inside = html(elem_id="inside")

    def connect(self) -> None:
        self.view.click(self.show_tokens, self.written, [self.view, self.inside], queue=False, **QUIET)

    def updates(self, written: Written | None, request: gr.Request) -> dict[Any, Any]:
        """Offer to show another completion, or none."""
        self.turns.begin(self.engine.page_key(request))
        view = render("tokens_offer", revision=written.revision.revision) if written else render("tokens_blank")
        return {self.written: written, self.view: view, self.inside: ""}

    async def show_tokens(self, written: Written | None, event: gr.EventData, request: gr.Request) -> tuple[Any, Any]:
        """The tokens of a sample, or one of them from inside; nothing if another completion was begun meanwhile."""
        page_key = self.engine.page_key(request)
        turn = self.turns.begin(page_key)
        found = await wait_for(self._show, written, event, request)
        return (gr.skip(), gr.skip()) if self.turns.is_over(page_key, turn) else found

    def _show(self, written: Written | None, event: gr.EventData, request: gr.Request) -> tuple[Any, Any]:
        if written is None:
            return render("tokens_blank"), ""
        try:
            asked, readings = Asked.of(event.value), Readings(self.engine, written, request)
            if asked.at is None:
                return self._tokens(written, asked, readings), ""
            revision = readings.revision(asked.revision)
            return gr.skip(), render("inside", inside=readings.inside(asked.sample, revision, asked.at))
        except PipelineError as error:
            return gr.skip(), notice_of(error, {})

    def _tokens(self, written: Written, asked: Asked, readings: Readings) -> str:
        own, other = readings.revision(asked.revision), written.other
        reading = readings.of(asked.sample, own)
        theirs = readings.of(asked.sample, other) if other else None
        window, run = window_of(own), readings.run(own)
        lines = shaded(reading, window=window, other=theirs)
        return render(
            "tokens",
            asked=asked,
            num_samples=len(written.texts),
            lines=lines,
            reading=reading,
            revision=own,
            other=other,
            others=theirs,
            has_same_tokens=any(token.other for line in lines for token in line.tokens),
            window=window if window is not None and window < len(reading.tokens) else None,
            number=run.index(own) if own in run and len(run) > 1 else None,
            last=len(run) - 1,
            steps=json.dumps([f"{asked.sample} {revision.revision}" for revision in run]),
            labels=json.dumps([whole(revision.step) for revision in run]),
        )
