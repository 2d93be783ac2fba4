"""The Gallery tab: kept examples, a page of them at a time; each opens as it was or lends its prompt to a new try.

Visitors report what should not be there; the owner hides, pins and deletes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from pipeline.core.errors import PipelineError
from pipeline.ui.gallery.example_card import ExampleCard
from pipeline.ui.generate.tab import GenerateTab
from pipeline.ui.shared.components import QUIET, html, picks
from pipeline.ui.shared.engine import Engine
from pipeline.ui.shared.markup import notice, render
from pipeline.ui.shared.texts import t

Updates = dict[Any, Any]


@dataclass(frozen=True)
class View:
    """What one browser looks at."""

    number: int = 1
    """Of the page."""
    reported_first: bool = False
    doubtful: str = ""
    """Id of the example whose deletion waits for the second press."""


@dataclass(frozen=True)
class Note:
    """The answer to what was pressed; on the card it was pressed on, if that is still there."""

    example_id: str
    message: str
    kind: str = "bad"


DECISIONS = ("hide", "show", "pin", "unpin")
"""Of the owner, each a method of Examples."""


class GalleryTab:
    def __init__(self, engine: Engine, generate: GenerateTab) -> None:
        self.engine = engine
        self.generate = generate

    def build(self) -> None:
        self.view = gr.State(View())
        html(render("gallery_head"))
        self.shelf = picks(attribute="example", elem_id="gallery")

    def connect(self, page: gr.Blocks, tab: gr.Tab, owner_changed: gr.Button) -> None:
        for event in (page.load, tab.select, owner_changed.click):
            event(self.show, self.view, self.shelf, queue=False, **QUIET)
        outputs = [self.view, self.shelf, *self.generate.shows]
        self.shelf.click(self.take, self.view, outputs, queue=False, **QUIET)

    def show(self, view: View, request: gr.Request, note: Note | None = None) -> str:
        """One page, as whoever asks may see it."""
        is_owner = self.engine.access.of(request).allowed
        try:
            page = self.engine.examples.page(
                view.number, include_hidden=is_owner, reported_first=is_owner and view.reported_first
            )
        except PipelineError as error:
            return notice(str(error))
        cards = [ExampleCard.of(example, page.states[example.id]) for example in page.examples]
        return render("gallery", page=page, cards=cards, is_owner=is_owner, view=view, note=note)

    def take(self, view: View, event: gr.EventData, request: gr.Request) -> Updates:
        """What a button says: `page N`; `open ID` shows an example as it was, `remix ID` takes its prompt and settings for a
        new try, `report ID` asks the owner to look at it. The owner's are `sort`, `hide`, `show`, `pin`, `unpin`, `delete`.
        """
        action, _, what = str(event.value).partition(" ")
        note = None
        try:
            if action == "open":
                return self.generate.open_example(what, request)
            if action == "remix":
                return self.generate.fill(self.generate.example(what, request))
            if action == "page":
                view = replace(view, number=_page_number(what), doubtful="")
            elif action == "report":
                note = self._report(what, request)
            else:
                is_done = action in DECISIONS or (action == "delete" and what == view.doubtful)
                self.engine.access.require(request, f"{action} example" if is_done else "", what)
                view, note = self._moderate(view, action, what)
        except PipelineError as error:
            note = Note(what, str(error))
        return {self.view: view, self.shelf: self.show(view, request, note)}

    def _report(self, example_id: str, request: gr.Request) -> Note:
        is_first = self.engine.examples.report(example_id, self.engine.visitor_key(request))
        return Note(example_id, t("gallery.report.done" if is_first else "gallery.report.again"), "good")

    def _moderate(self, view: View, action: str, example_id: str) -> tuple[View, Note | None]:
        """The owner's part. `delete` counts only the second time; anything else in between takes it back."""
        examples = self.engine.examples
        if action == "sort":
            return View(reported_first=not view.reported_first), None
        if action == "delete":
            if example_id != view.doubtful:
                return replace(view, doubtful=example_id), None
            examples.delete(example_id)
            return replace(view, doubtful=""), Note(example_id, t("gallery.deleted", id=example_id), "good")
        if action in DECISIONS:
            getattr(examples, action)(example_id)
        return replace(view, doubtful=""), None


def _page_number(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 10 else 1
