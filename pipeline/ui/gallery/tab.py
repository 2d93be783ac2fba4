"""The Gallery tab: kept examples in pages. Each can be opened as it was kept, or its inputs used for a new completion.

People search them. Visitors report unsuitable examples; the owner hides, pins and deletes them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import gradio as gr

from pipeline.core.errors import PipelineError
from pipeline.gallery.examples import ExamplesPage
from pipeline.gallery.search import Query, prompt_key
from pipeline.ui.gallery.example_card import ExampleCard
from pipeline.ui.gallery.search_form import form_html, linked_query, query_of, search_form
from pipeline.ui.generate.tab import GenerateTab
from pipeline.ui.shared.components import QUIET, html, picks, tells
from pipeline.ui.shared.engine import Engine
from pipeline.ui.shared.markup import notice, render
from pipeline.ui.shared.texts import t

Updates = dict[Any, Any]


@dataclass(frozen=True)
class View:
    """What one browser shows of the gallery."""

    number: int = 1
    """Page number, from 1."""
    query: Query = field(default_factory=Query)
    reported_first: bool = False
    doubtful: str = ""
    """Id of the example whose deletion must be confirmed by a second click."""
    problem: str = ""
    """What is wrong with the link that was opened, shown in place of the examples until the next action."""


@dataclass(frozen=True)
class Note:
    """The answer to a click, shown on the card that was clicked if that is still there."""

    example_id: str
    message: str
    kind: str = "bad"


DECISIONS = ("hide", "show", "pin", "unpin", "approve", "disapprove")
"""The owner's actions that are methods of Examples."""


class GalleryTab:
    def __init__(self, engine: Engine, generate: GenerateTab) -> None:
        self.engine = engine
        self.generate = generate

    def build(self) -> None:
        self.view = gr.State(View())
        html(render("gallery_head"))
        self.bar = search_form()
        self.shelf = picks(attribute="example", elem_id="gallery", js_more=tells("studio-shown"))  # page.js

    def connect(self, page: gr.Blocks, tabs: gr.Tabs, tab: gr.Tab, owner_changed: gr.Button) -> None:
        self.tabs = tabs
        page.load(self.open_gallery, None, [self.view, self.bar, self.shelf, tabs], queue=False, **QUIET)
        for event in (tab.select, owner_changed.click):
            event(self.show, self.view, [self.bar, self.shelf], queue=False, **QUIET)
        self.bar.click(
            self.search, self.view, [self.view, self.shelf], queue=False, trigger_mode="always_last", **QUIET
        )
        outputs = [self.view, self.bar, self.shelf, *self.generate.shows]
        self.shelf.click(self.take, self.view, outputs, queue=False, **QUIET)

    def open_gallery(self, request: gr.Request) -> Updates:
        """The page of the gallery that the URL names, or its first one."""
        number = request.query_params.get("gallery")
        if number is None:
            return self._shown(View(), request)
        try:
            view = View(number=_page_number(number), query=linked_query(request))
        except PipelineError as error:
            view = View(problem=str(error))
        return {**self._shown(view, request), self.tabs: gr.Tabs(selected="gallery")}

    def search(self, view: View, event: gr.EventData, request: gr.Request) -> Updates:
        """Examples that match the form. The form itself is not sent: somebody may be typing into it."""
        try:
            view = replace(view, number=1, query=query_of(event.value), doubtful="", problem="")
        except PipelineError as error:
            return {self.shelf: notice(str(error))}
        updates = self._shown(view, request)
        return {self.view: view, self.shelf: updates[self.shelf]}

    def show(self, view: View, request: gr.Request) -> Updates:
        """The same page again, as it is now."""
        updates = self._shown(view, request)
        return {self.bar: updates[self.bar], self.shelf: updates[self.shelf]}

    def _shown(self, view: View, request: gr.Request, note: Note | None = None) -> Updates:
        """One page of examples, limited to what the requester may see."""
        is_owner = self.engine.access.of(request).allowed
        try:
            page = self.engine.examples.page(
                view.number, view.query, include_hidden=is_owner, reported_first=is_owner and view.reported_first
            )
        except PipelineError as error:
            return {self.view: view, self.bar: "", self.shelf: notice(str(error))}
        if view.problem:
            return {self.view: view, self.bar: form_html(view.query, page), self.shelf: notice(view.problem)}
        shelf = shelf_html(page, view, note, is_owner=is_owner, dataset=self.engine.settings.gallery_repo)
        return {self.view: view, self.bar: form_html(view.query, page), self.shelf: shelf}

    def take(self, view: View, event: gr.EventData, request: gr.Request) -> Updates:
        """Handle a button. The event's value is `page N`, `all` (end the search), `open ID` (show the example as it was
        kept), `remix ID` (use its prompt and settings for a new completion), `prompt ID` or `run ID` (show those of the
        same prompt or run), or `report ID` (ask the owner to check it). The owner also has `sort` and, with an id,
        `hide`, `show`, `pin`, `unpin`, `approve`, `disapprove` and `delete`.
        """
        action, _, target = str(event.value).partition(" ")
        view, note = replace(view, problem=""), None
        try:
            if action == "open":
                return self.generate.open_example(target, request)
            if action == "remix":
                return self.generate.remix(target, request)
            if action in ("page", "all", "prompt", "run"):
                view = self._moved(view, action, target, request)
            elif action == "report":
                note = self._report(target, request)
            else:
                is_recorded = action in DECISIONS or (action == "delete" and target == view.doubtful)
                self.engine.access.require(request, f"{action} example" if is_recorded else "", target)
                view, note = self._moderate(view, action, target)
        except PipelineError as error:
            note = Note(target, str(error))
        return self._shown(view, request, note)

    def _moved(self, view: View, action: str, target: str, request: gr.Request) -> View:
        """Another page, or another search."""
        if action == "page":
            return replace(view, number=_page_number(target), doubtful="")
        if action == "all":
            return replace(view, number=1, query=Query(), doubtful="")
        example = self.generate.example(target, request)
        change = {"prompt_key": prompt_key(example.prompt)} if action == "prompt" else {"run": example.run}
        return replace(view, number=1, query=replace(view.query, **change), doubtful="")

    def _report(self, example_id: str, request: gr.Request) -> Note:
        is_first = self.engine.examples.report(example_id, self.engine.visitor_key(request))
        return Note(example_id, t("gallery.report.done" if is_first else "gallery.report.again"), "good")

    def _moderate(self, view: View, action: str, example_id: str) -> tuple[View, Note | None]:
        """Apply an owner's action. `delete` deletes at the second click; any other action in between cancels it."""
        examples = self.engine.examples
        if action == "sort":
            return View(query=view.query, reported_first=not view.reported_first), None
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


def shelf_html(page: ExamplesPage, view: View, note: Note | None, *, is_owner: bool, dataset: str | None = None) -> str:
    """The HTML of one page. `dataset`: where approved examples go."""
    cards = [ExampleCard.of(example, page.states[example.id]) for example in page.examples]
    is_default = page.number == 1 and not view.query
    address = "" if is_default else view.query.address(page.number)
    return render(
        "gallery",
        page=page,
        cards=cards,
        is_owner=is_owner,
        view=view,
        query=view.query,
        address=address,
        note=note,
        dataset=dataset,
    )
