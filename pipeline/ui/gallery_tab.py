"""The Gallery tab: kept examples, newest first; each opens as it was or lends its prompt to a new try."""

from __future__ import annotations

from typing import Any

import gradio as gr

from pipeline.errors import PipelineError
from pipeline.ui.engine import Engine
from pipeline.ui.generate_tab import GenerateTab
from pipeline.ui.markup import notice, render
from pipeline.ui.parts import QUIET, html, picks

Updates = dict[Any, Any]


class GalleryTab:
    def __init__(self, engine: Engine, generate: GenerateTab) -> None:
        self.engine = engine
        self.generate = generate

    def build(self) -> None:
        html(render("gallery_head"))
        self.shelf = picks(attribute="example", elem_id="gallery")

    def connect(self, page: gr.Blocks, tab: gr.Tab) -> None:
        page.load(self.show, None, self.shelf, queue=False, **QUIET)
        tab.select(self.show, None, self.shelf, queue=False, **QUIET)
        self.shelf.click(self.take, None, [self.shelf, *self.generate.shows], queue=False, **QUIET)

    def show(self) -> str:
        return render("gallery", examples=self.engine.examples.list(), num_damaged=self.engine.examples.num_damaged)

    def take(self, event: gr.EventData, request: gr.Request) -> Updates:
        """`open ID` shows an example as it was; `remix ID` takes its prompt and settings for a new try."""
        action, _, example_id = str(event.value).partition(" ")
        try:
            if action == "open":
                return self.generate.open_example(example_id, request)
            return self.generate.fill(self.engine.examples.get(example_id))
        except PipelineError as error:
            return {self.shelf: notice(str(error)) + self.show()}
