"""The form, below the list of corpora, that pushes a prepared corpus to the Hub. The list shows the progress."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from pipeline.core.atomic_io import readable_json
from pipeline.core.errors import PipelineError
from pipeline.jobs.corpora import start_pushing
from pipeline.ui.shared.components import QUIET, ask, html
from pipeline.ui.shared.engine import Engine
from pipeline.ui.shared.field_errors import Field, notice_of
from pipeline.ui.shared.markup import render
from pipeline.ui.shared.texts import t

OFFER = "offer"
"""Action of a corpus's Push button, sent before the corpus id."""

Updates = dict[Any, Any]


class PushForm:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    # ---- layout ----

    def build(self) -> None:
        self.corpus = gr.State(None)
        with gr.Column(visible=False, elem_id="push-form", min_width=0) as self.form:
            self.title = html()
            with gr.Row(elem_classes="push-fields"):
                self.repo = ask(
                    gr.Textbox,
                    label=t("push.repo"),
                    placeholder=t("push.repo.example"),
                    max_lines=1,
                    min_width=0,
                    elem_id="push-repo",
                )
                self.private = ask(gr.Checkbox, label=t("push.private"), min_width=0, elem_id="push-private")
                with gr.Row(elem_classes="actions"):
                    self.button = gr.Button(t("push.start"), variant="primary", elem_id="push")
                    self.cancel = gr.Button(t("push.cancel"), elem_id="cancel-push")
            self.answer = html(elem_id="push-answer")

    def connect(self, pressed: Sequence[Any], after: dict[str, Any]) -> None:
        """`pressed`: click events of the lists of corpora; `after`: the event settings that refresh what is shown."""
        shown = [self.corpus, self.form, self.title, self.repo, self.private, self.answer]
        gr.on(pressed, self.offer, None, shown, queue=False, **QUIET)
        inputs = [self.corpus, self.repo, self.private]
        gr.on([self.button.click, self.repo.submit], self.push, inputs, shown, queue=False, **QUIET).then(**after)
        self.cancel.click(self.close, None, shown, queue=False, **QUIET)

    # ---- handlers ----

    def offer(self, event: gr.EventData, request: gr.Request) -> Updates:
        """Open the form for the corpus whose Push button was pressed; any other button closes it."""
        action, _, corpus = str(event.value).partition(" ")
        if action != OFFER or not self.engine.access.of(request).allowed:
            return self.close()
        try:
            repo = self._repo(corpus)
        except PipelineError:  # not an id that a button sends
            return self.close()
        return {
            self.corpus: corpus,
            self.form: gr.Column(visible=True),
            self.title: render("push_title", corpus=corpus),
            self.repo: repo,
            self.private: False,
            self.answer: "",
        }

    def push(self, corpus: str | None, repo: str | None, private: bool, request: gr.Request) -> Updates:
        """Submit the push; the list shows its progress."""
        try:
            self.engine.access.require(request, "push", f"{corpus} to {repo}")
            settings = self.engine.settings
            start_pushing(settings, corpus_id=corpus or "", repo=(repo or "").strip(), private=bool(private))
        except PipelineError as error:
            return {self.answer: notice_of(error, {"dataset": Field(t("push.repo"), "push-repo")})}
        return self.close()

    def close(self) -> Updates:
        return {self.corpus: None, self.form: gr.Column(visible=False), self.answer: ""}

    def _repo(self, corpus: str) -> str:
        """The repo of the previous push, else a dataset named like the corpus with the owner of the model repo."""
        previous = readable_json(self.engine.home.corpus(corpus).push.request).get("repo")
        owner = (self.engine.settings.hub_repo or "").partition("/")[0]
        return previous or (f"{owner}/{corpus}" if owner else "")
