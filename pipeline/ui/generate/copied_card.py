"""The card that shows what of a completion stands in the training files, and in which."""

from __future__ import annotations

from typing import Any

import gradio as gr
from markupsafe import Markup

from pipeline.artifacts.revision import Revision
from pipeline.artifacts.starter import STARTER
from pipeline.core.errors import DamagedError, PipelineError
from pipeline.data.verbatim.ngram_index import MIN_RUN, NGRAM
from pipeline.ui.generate.copied import TrainingFilesOf
from pipeline.ui.generate.readings import Asked, Readings, Written
from pipeline.ui.generate.writing import CardTurns
from pipeline.ui.shared.access import AccessError
from pipeline.ui.shared.components import QUIET, card, picks
from pipeline.ui.shared.engine import Engine
from pipeline.ui.shared.field_errors import notice_of
from pipeline.ui.shared.markup import notice, render
from pipeline.ui.shared.privacy import hidden_unless
from pipeline.ui.shared.texts import t
from pipeline.ui.shared.threads import wait_for


class CopiedCard:
    """Layout and handlers."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.files = TrainingFilesOf(engine.home)
        self.turns = CardTurns()
        """What the card of each page shows."""

    def build(self) -> None:
        with card("flush", elem_id="copied-card"):
            self.view = picks(_blank(), attribute="copied", elem_id="copied")

    def connect(self, written: gr.State) -> None:
        self.view.click(self.show_copied, written, self.view, queue=False, **QUIET)

    def updates(self, written: Written | None, request: gr.Request) -> dict[Any, Any]:
        """Offer to look for another completion, or none."""
        self.turns.begin(self.engine.page_key(request))
        if written is None:
            return {self.view: _blank()}
        writer = written.revision
        if (
            isinstance(writer, Revision)
            and writer.repo == STARTER
            and not self.engine.home.corpus(writer.corpus).is_ready
        ):
            return {self.view: _blank(is_starter=True)}
        return {self.view: render("copied_offer", revision=writer.revision)}

    async def show_copied(self, written: Written | None, event: gr.EventData, request: gr.Request) -> Any:
        """What of a sample stands in the training files; nothing if another completion was begun meanwhile."""
        page_key = self.engine.page_key(request)
        turn = self.turns.begin(page_key)
        found = await wait_for(self._show, written, event, request)
        return gr.skip() if self.turns.is_over(page_key, turn) else found

    def _show(self, written: Written | None, event: gr.EventData, request: gr.Request) -> str:
        if written is None:
            return _blank()
        try:
            asked, readings = Asked.of(event.value), Readings(self.engine, written, request)
            writer = readings.writer()
            prompt, token_ids = readings.text(asked.sample, writer)
            corpus = self.files.corpus(writer)
            self._check_source(corpus.manifest["config"]["source"], request)
            # `text` gives the whole text for the prompt where the tokens are not known.
            given, text = (prompt, "") if token_ids else (written.prompt, written.texts[asked.sample])
            visitor = self.engine.visitor_key(request)
            copied = self.files.copied(corpus, given, token_ids, text, visitor=visitor)
        except DamagedError as error:  # it names the file
            is_owner = self.engine.access.of(request).allowed
            return render("copied_failed", notice=Markup(notice(hidden_unless(is_owner, str(error)))))
        except PipelineError as error:
            return render("copied_failed", notice=Markup(notice_of(error, {})))
        return render(
            "copied",
            asked=asked,
            num_samples=len(written.texts),
            copied=copied,
            min_run=MIN_RUN,
            ngram=NGRAM,
        )

    def _check_source(self, source: str, request: gr.Request) -> None:
        """Raises AccessError when the corpus is of files that only the owner may see."""
        if not (self.engine.reading.is_public(source) or self.engine.access.of(request).allowed):
            raise AccessError(t("copied.for_owner"))


def _blank(*, is_starter: bool = False) -> str:
    return render("copied_blank", is_starter=is_starter)
