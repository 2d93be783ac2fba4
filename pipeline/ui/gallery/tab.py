"""The Gallery tab: kept examples in pages. Each can be opened as it was kept, or its inputs used for a new completion.

Visitors report unsuitable examples; the owner hides, pins and deletes them.
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
    """What one browser shows of the gallery."""

    number: int = 1
    """Page number, from 1."""
    reported_first: bool = False
    doubtful: str = ""
    """Id of the example whose deletion must be confirmed by a second click."""


@dataclass(frozen=True)
class Note:
    """The answer to a click, shown on the card that was clicked if that is still there."""

    example_id: str
    message: str
    kind: str = "bad"


DECISIONS = ("hide", "show", "pin", "unpin")
"""The owner's actions that are methods of Examples."""


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
        """One page of examples, limited to what the requester may see."""
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
        """Handle a button. The event's value is `page N`, `open ID` (show the example as it was kept), `remix ID` (use
        its prompt and settings for a new completion) or `report ID` (ask the owner to check it). The owner also has
        `sort` and, with an id, `hide`, `show`, `pin`, `unpin` and `delete`.
        """
        action, _, target = str(event.value).partition(" ")
        note = None
        try:
            if action == "open":
                return self.generate.open_example(target, request)
            if action == "remix":
                return self.generate.fill(self.generate.example(target, request), request)
            if action == "page":
                view = replace(view, number=_page_number(target), doubtful="")
            elif action == "report":
                note = self._report(target, request)
            else:
                is_recorded = action in DECISIONS or (action == "delete" and target == view.doubtful)
                self.engine.access.require(request, f"{action} example" if is_recorded else "", target)
                view, note = self._moderate(view, action, target)
        except PipelineError as error:
            note = Note(target, str(error))
        return {self.view: view, self.shelf: self.show(view, request, note)}

    def _report(self, example_id: str, request: gr.Request) -> Note:
        is_first = self.engine.examples.report(example_id, self.engine.visitor_key(request))
        return Note(example_id, t("gallery.report.done" if is_first else "gallery.report.again"), "good")

    def _moderate(self, view: View, action: str, example_id: str) -> tuple[View, Note | None]:
        """Apply an owner's action. `delete` deletes at the second click; any other action in between cancels it."""
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
