"""The card that asks for the owner's key, where the page is not open by itself; gone where it is."""

from __future__ import annotations

from typing import Any

import gradio as gr

from pipeline.errors import PipelineError
from pipeline.ui.engine import Engine
from pipeline.ui.markup import notice
from pipeline.ui.parts import QUIET, ask, card, html
from pipeline.ui.texts import t


class Unlock:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def build(self) -> None:
        with card("form-card", "unlock", visible=False) as self.card:
            self.message = html(elem_id="access")
            with gr.Row(elem_classes="actions", visible=False) as self.form:
                self.key = ask(
                    gr.Textbox,
                    label=t("access.key"),
                    show_label=False,
                    placeholder=t("access.key"),
                    type="password",
                    max_lines=1,
                    elem_id="owner-key",
                )
                self.button = gr.Button(t("access.unlock"), variant="primary", elem_id="unlock")

    def connect(self, page: gr.Blocks) -> None:
        shown = [self.card, self.form, self.message, self.key]
        page.load(self.show, None, shown, queue=False, **QUIET)
        gr.on([self.button.click, self.key.submit], self.open, self.key, shown, **QUIET)

    def show(self, request: gr.Request) -> dict[Any, Any]:
        decision = self.engine.access.of(request)
        message = notice(t(f"access.{decision.state}"), kind="warn") if not decision.allowed else ""
        return {
            self.card: gr.Column(visible=not decision.allowed),
            self.form: gr.Row(visible=decision.state == "locked"),
            self.message: message,
            self.key: "",
        }

    def open(self, key: str, request: gr.Request) -> dict[Any, Any]:
        try:
            self.engine.access.unlock(request, key or "")
        except PipelineError as error:
            return {self.message: notice(str(error)), self.key: ""}
        return self.show(request)
