"""The gallery's search: words, a run, and the prompt of one example. What was found is a link."""

from __future__ import annotations

import json

import gradio as gr

from pipeline.core.errors import InputError
from pipeline.gallery.examples import ExamplesPage
from pipeline.gallery.search import MAX_QUERY_CHARACTERS, Query
from pipeline.ui.shared.components import html
from pipeline.ui.shared.markup import render
from pipeline.ui.shared.texts import t

SEND_WHEN_STILL = (
    "let timer = 0;"
    "const send = () => { clearTimeout(timer); const { q, run, prompt } = element.querySelector('form').elements;"
    " trigger('click', { value: JSON.stringify({ words: q.value, run: run.value, prompt_key: prompt.value }) }); };"
    "element.addEventListener('input', () => { clearTimeout(timer); timer = setTimeout(send, 300); });"
    "element.addEventListener('submit', (event) => { event.preventDefault(); send(); });"
    "element.addEventListener('click', (event) => { if (!event.target.closest('[data-any-prompt]')) return;"
    " const form = element.querySelector('form'); form.elements.prompt.value = '';"
    " form.querySelector('.of-prompt').remove(); form.elements.q.focus(); send(); });"
)
"""Sends the form 300 ms after the last letter, or at Enter: a request for each letter would use up the visitor's rate."""


def search_form() -> gr.HTML:
    """The event's `value` is the form as JSON, which `query_of` reads."""
    return html(elem_id="gallery-search", js_on_load=SEND_WHEN_STILL)


def form_html(query: Query, page: ExamplesPage) -> str:
    """The form, filled with `query`, and the runs to choose from."""
    runs = page.runs if not query.run or query.run in page.runs else [query.run, *page.runs]
    of_prompt = page.examples[0].prompt if query.prompt_key and page.examples else ""
    return render("gallery_search", query=query, runs=runs, of_prompt=of_prompt, most=MAX_QUERY_CHARACTERS)


def query_of(value: object) -> Query:
    """Raises InputError for anything but a form that this one sends."""
    try:
        form = json.loads(str(value))
    except (ValueError, RecursionError):
        form = None
    if not isinstance(form, dict) or set(form) != {"words", "run", "prompt_key"}:
        raise InputError(t("gallery.search.bad"))
    if not all(isinstance(text, str) for text in form.values()):
        raise InputError(t("gallery.search.bad"))
    return Query(**form)


def linked_query(request: gr.Request) -> Query:
    """What the page's URL asks for. Raises InputError when a part is too long."""
    given = request.query_params
    names = {"words": "q", "run": "of_run", "prompt_key": "of_prompt"}
    return Query(**{name: given.get(parameter) or "" for name, parameter in names.items()})
