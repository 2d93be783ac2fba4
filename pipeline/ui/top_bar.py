"""Brand, what this visitor may do, and the theme switch; the tabs share its line."""

from __future__ import annotations

import gradio as gr

from pipeline.ui.engine import Engine
from pipeline.ui.markup import render
from pipeline.ui.parts import QUIET, html, page_script


class TopBar:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def build(self) -> None:
        self.bar = html(render("top_bar", state=None), elem_id="top-bar", js_on_load=page_script())

    def connect(self, page: gr.Blocks) -> None:
        page.load(self.show, None, self.bar, queue=False, **QUIET)

    def show(self, request: gr.Request) -> str:
        return render("top_bar", state=self.engine.access.of(request).state)
