"""The card with windows and key tokens of the sample files, tokenized as they would be for training."""

from __future__ import annotations

from dataclasses import dataclass
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


@dataclass(frozen=True)
class Inspected:
    """What an inspection was made of, so that it can be made again."""

    key: Key | None
    chosen: str | None
    own: str | None
    window: Any
    tokenizer: str | None
    """Id of the corpus that its tokenizer belongs to."""


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
            self.inspected = gr.State(None)
            self.found = html(blank(t("inspect.blank"), t("inspect.blank.more")), elem_id="inspection")

    def connect(self, chosen: gr.State, window: gr.Textbox, corpora: gr.HTML) -> None:
        inputs, outputs = [self.data.key, chosen, self.own, window], [self.found, self.inspected]
        gr.on([self.button.click, self.own.submit], self.inspect, inputs, outputs, concurrency_limit=1, **QUIET)
        corpora.change(self.renew, self.inspected, outputs, concurrency_limit=1, **QUIET)

    def inspect(
        self, key: Key | None, chosen: str | None, own: str | None, window: Any, request: gr.Request
    ) -> tuple[str, Inspected]:
        """Uses the chosen corpus's samples, else those of the preview; its tokenizer, else another corpus's."""
        made_of = Inspected(key, chosen, own, window, self._tokenizer(chosen))
        try:
            self.engine.access.require(request)
            found = self._inspection(made_of)
        except PipelineError as error:
            words = Field(t("inspect.own"), "own-words")
            fields = {"own_words": words, "own_word": words, "window": Field(t("prepare.window"), "window")}
            return notice_of(error, fields), made_of
        return render("inspection", found=found), made_of

    def renew(self, inspected: Inspected | None, request: gr.Request) -> tuple[Any, Any]:
        """Make the inspection again when the list of corpora now gives it another tokenizer."""
        if inspected is None or self._tokenizer(inspected.chosen) == inspected.tokenizer:
            return gr.skip(), gr.skip()
        return self.inspect(inspected.key, inspected.chosen, inspected.own, inspected.window, request)

    def _tokenizer(self, chosen: str | None) -> str | None:
        """Id of the corpus whose tokenizer is used: the chosen one, else the newest that has one."""
        home = self.engine.home
        ready = [
            view.corpus
            for view in corpus_views(home)
            if (home.corpus(view.corpus).tokenizer / "tokenizer.json").exists()
        ]
        return chosen if chosen in ready else next(iter(ready), None)

    def _inspection(self, made_of: Inspected) -> Inspection:
        home, scan, chosen = self.engine.home, self.engine.scans.found(made_of.key), made_of.chosen
        texts = inspection.sample_texts(home.corpus(chosen)) if chosen else []
        preview_texts = [sample.content for sample in scan.samples] if scan else []
        return inspection.inspect(
            texts or preview_texts,
            tokenizer=home.corpus(made_of.tokenizer) if made_of.tokenizer else None,
            samples=chosen if texts else None,
            words=inspection.key_words(made_of.own),
            window=inspection.window_of(made_of.window),
        )
