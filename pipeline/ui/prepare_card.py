"""Preparing a corpus: the form, the job's progress, the corpora that are there. Everything shown is read from disk."""

from __future__ import annotations

from typing import Any

import gradio as gr

from pipeline.config import PRESETS
from pipeline.errors import PipelineError
from pipeline.jobs import requests
from pipeline.jobs.views import corpus_views
from pipeline.ui import setups
from pipeline.ui.data_tab import DataTab
from pipeline.ui.engine import Engine
from pipeline.ui.markup import notice, render
from pipeline.ui.parts import QUIET, ask, card, head, html, picks
from pipeline.ui.texts import t

TICK_SECONDS = 1.0

Updates = dict[Any, Any]


class PrepareCard:
    def __init__(self, engine: Engine, data: DataTab) -> None:
        self.engine = engine
        self.data = data

    # ---- layout ----

    def build(self) -> None:
        """The form; inside the side column."""
        with card("form-card", "fold"):
            head(t("prepare.title"), fold=True)
            html(render("aside", text=t("prepare.what")))
            self.name = ask(
                gr.Textbox, value=setups.FIRST_CORPUS, label=t("prepare.name"), max_lines=1, elem_id="corpus-name"
            )
            vocabularies = [
                (t("prepare.vocabulary.choice", size=f"{preset.vocab_size:,}", preset=preset.title), preset.vocab_size)
                for preset in PRESETS.values()
            ]
            self.vocabulary = ask(
                gr.Dropdown, vocabularies, value=vocabularies[0][1], label=t("prepare.vocabulary"), filterable=False
            )
            with gr.Accordion(t("advanced"), open=False):
                self.max_files = ask(
                    gr.Number,
                    None,
                    label=t("prepare.max_files"),
                    placeholder=t("prepare.max_files.all"),
                    precision=0,
                    elem_id="max-files",
                )
            with gr.Row(elem_classes="actions"):
                self.button = gr.Button(t("prepare.start"), variant="primary", elem_id="prepare")
            self.running = picks(attribute="job", elem_id="preparing")
            self.answer = html(elem_id="prepare-answer")

    def build_list(self) -> None:
        """The corpora; inside the main column."""
        with card("flush"):
            self.corpora = picks(attribute="job", elem_id="corpora")

    def connect(self, page: gr.Blocks) -> None:
        shown = gr.State(None)
        data = self.data
        inputs = [
            data.kind,
            data.path,
            data.repo,
            data.keywords,
            data.match,
            self.name,
            self.vocabulary,
            self.max_files,
        ]
        live: dict[str, Any] = {**QUIET, "queue": False, "concurrency_limit": None}
        self.button.click(self.prepare, inputs, [self.answer], **QUIET)
        gr.on([self.running.click, self.corpora.click], self.act, None, [self.answer], **QUIET)
        views = [shown, self.running, self.corpora]
        page.load(self.refresh, None, views, **live)
        gr.Timer(TICK_SECONDS).tick(self.refresh, shown, views, **live)

    # ---- handlers ----

    def prepare(
        self,
        kind: str,
        path: str,
        repo: str,
        keywords: list[str],
        match: str,
        name: str,
        vocab_size: float,
        max_files: float | None,
        request: gr.Request,
    ) -> str:
        """Ask for the corpus that the source card and this form describe."""
        try:
            self.engine.access.require(request)
            config = setups.new_corpus(
                setups.source_spec(kind, path, repo), setups.keyword_list(keywords), match, vocab_size, max_files
            )
            corpus = requests.start_preparing(self.engine.settings, config=config, corpus_id=(name or "").strip())
        except PipelineError as error:
            return notice(str(error))
        return notice(t("prepare.asked", corpus=corpus), kind="good")

    def act(self, event: gr.EventData, request: gr.Request) -> str:
        """Stop or resume, as the button in the list says: `stop ID` or `resume ID`."""
        action, _, corpus = str(event.value).partition(" ")
        try:
            self.engine.access.require(request)
            if action == "stop":
                requests.stop_corpus(self.engine.settings, corpus)
            else:
                requests.resume_corpus(self.engine.settings, corpus)
        except PipelineError as error:
            return notice(str(error))
        return ""

    def refresh(self, shown: int | None = None) -> tuple[int, str, str] | dict[str, Any]:
        """What runs and what is there, as the disk has it; nothing when this browser shows just that already."""
        corpora = corpus_views(self.engine.home)
        texts = render("preparing", corpora=corpora), render("corpora", corpora=corpora)
        return gr.skip() if hash(texts) == shown else (hash(texts), *texts)
