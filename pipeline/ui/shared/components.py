"""The few ways this page makes components, so that each looks and behaves the same everywhere."""

from __future__ import annotations

from typing import Any, TypeVar

import gradio as gr

from pipeline.ui.shared.markup import render
from pipeline.ui.shared.texts import ASSETS

Input = TypeVar("Input")

QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
"""Of every event: Gradio's own progress overlay would cover the live cards, and programs have `api`."""


BUSY_SECONDS = 1.0
IDLE_SECONDS = 5.0
"""Between two ticks of an open page, while something runs and while nothing does."""


def tick_seconds(is_busy: bool) -> float:
    """How often an open page asks for news: a hundred pages that ask each second take a whole core of the server."""
    return BUSY_SECONDS if is_busy else IDLE_SECONDS


def html(value: str = "", **settings: Any) -> gr.HTML:
    """HTML of our own, made by `markup.render`; without Gradio's rules for prose."""
    return gr.HTML(value, apply_default_css=False, **{"js_on_load": None, **settings})


def picks(value: str = "", *, attribute: str, **settings: Any) -> gr.HTML:
    """HTML whose elements with `data-<attribute>` can be clicked; the event's `value` is what the attribute says."""
    js = (
        "element.addEventListener('click', (event) => {"
        f" const picked = event.target.closest('[data-{attribute}]');"
        f" if (picked) trigger('click', {{ value: picked.dataset.{attribute} }}); }});"
    )
    return html(value, js_on_load=js, **settings)


def page_script() -> str:
    """The listeners of the whole page: theme, folds, pickers, copying."""
    return (ASSETS / "page.js").read_text(encoding="utf-8")


def ask(kind: type[Input], *args: Any, **settings: Any) -> Input:
    """An input. Without interactive=True, Gradio greys out inputs that no event reads."""
    return kind(*args, interactive=True, **settings)  # type: ignore[call-arg]


def editor(value: str, **settings: Any) -> gr.Textbox:
    """A field for code. Not gr.Code: that strips what it shows, and a prompt's last newline decides what comes next."""
    return gr.Textbox(
        value, lines=7, max_lines=16, show_label=False, container=False, interactive=True, autofocus=False, **settings
    )


def for_owners(text: str) -> gr.HTML:
    """What a visitor reads where the owner has buttons, whose elements have the class `owners`."""
    return html(render("hint", text=text), elem_classes="visitors")


def card(*classes: str, **settings: Any) -> gr.Column:
    return gr.Column(elem_classes=["card", *classes], min_width=0, **settings)


def head(title: str, note: str = "", *, fold: bool = False) -> gr.HTML:
    """The first line of a card; with `fold`, the rest of the card is folded away on a phone until asked for."""
    return html(render("card_head", title=title, note=note, fold=fold))
