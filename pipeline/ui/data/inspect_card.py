"""The card with windows and key tokens of the sample files, tokenized as they would be for training."""

from __future__ import annotations

from typing import Any

import gradio as gr

from pipeline.core.errors import PipelineError
from pipeline.jobs.views import corpus_views
from pipeline.ui.data import inspection
from pipeline.ui.data.inspection import Inspection
from pipeline.ui.data.scans import Key
from pipeline.ui.data.tab import DataTab
from pipeline.ui.shared.components import QUIET, ask, card, html
from pipeline.ui.shared.engine import Engine
from pipeline.ui.shared.field_errors import Field, notice_of
from pipeline.ui.shared.markup import blank, render
from pipeline.ui.shared.texts import t


class InspectCard:
    def __init__(self, engine: Engine, data: DataTab) -> None:
        self.engine = engine
        self.data = data

    def build(self) -> None:
        with card("flush", "owners", elem_id="inspect-card"):
            with gr.Row(elem_classes="toolbar"):
                html(render("section", title=t("inspect.title")))
                self.own = ask(
                    gr.Textbox,
                    label=t("inspect.own"),
                    placeholder=t("inspect.own.example"),
                    show_label=False,
                    container=False,
                    max_lines=1,
                    min_width=0,
                    elem_id="own-words",
                )
                self.button = gr.Button(t("inspect.start"), size="sm", elem_id="inspect")
            self.found = html(blank(t("inspect.blank"), t("inspect.blank.more")), elem_id="inspection")

    def connect(self, chosen: gr.State, window: gr.Textbox) -> None:
        inputs = [self.data.key, chosen, self.own, window]
        gr.on([self.button.click, self.own.submit], self.inspect, inputs, self.found, concurrency_limit=1, **QUIET)

    def inspect(self, key: Key | None, chosen: str | None, own: str | None, window: Any, request: gr.Request) -> str:
        """Uses the chosen corpus's samples, else those of the preview; its tokenizer, else another corpus's."""
        try:
            self.engine.access.require(request)
            found = self._inspection(self.engine.scans.found(key), chosen, own, window)
        except PipelineError as error:
            words = Field(t("inspect.own"), "own-words")
            fields = {"own_words": words, "own_word": words, "window": Field(t("prepare.window"), "window")}
            return notice_of(error, fields)
        return render("inspection", found=found)

    def _inspection(self, scan: Any, chosen: str | None, own: str | None, window: Any) -> Inspection:
        home = self.engine.home
        ready = [
            view.corpus
            for view in corpus_views(home)
            if (home.corpus(view.corpus).tokenizer / "tokenizer.json").exists()
        ]
        texts = inspection.sample_texts(home.corpus(chosen)) if chosen else []
        preview_texts = [sample.content for sample in scan.samples] if scan else []
        tokenizer = chosen if chosen in ready else next(iter(ready), None)
        return inspection.inspect(
            texts or preview_texts,
            tokenizer=home.corpus(tokenizer) if tokenizer else None,
            samples=chosen if texts else None,
            words=inspection.key_words(own),
            window=inspection.window_of(window),
        )
