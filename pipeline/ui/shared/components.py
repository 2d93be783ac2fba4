"""Factories for the page's components, so that each looks and behaves the same everywhere."""

from __future__ import annotations

from typing import Any, TypeVar

import gradio as gr

from pipeline.ui.shared.markup import render
from pipeline.ui.shared.texts import ASSETS

Input = TypeVar("Input")

QUIET: dict[str, Any] = {"show_progress": "hidden", "show_progress_on": [], "api_visibility": "private"}
"""Settings of every event: Gradio's own progress overlay would cover the live cards, and programs use `api`.

The empty list: at each message of any event Gradio's front end walks its component tree, and copies all properties, of
every component that ever could show progress, hidden or not (benchmarks/page_stream.py)."""


def html(value: str = "", **settings: Any) -> gr.HTML:
    """HTML made by `markup.render`, without Gradio's CSS for prose."""
    return gr.HTML(value, apply_default_css=False, **{"js_on_load": None, **settings})


KEEP_PRESSED_IN_SIGHT = (
    "const show = () => {"
    " const pressed = element.querySelector('[aria-pressed=true]');"
    " if (!pressed) return;"
    " const strip = pressed.parentElement, at = pressed.getBoundingClientRect(), seen = strip.getBoundingClientRect();"
    " strip.scrollLeft += Math.min(0, at.left - seen.left) || Math.max(0, at.right - seen.right); };"
    "new MutationObserver(show).observe(element, { subtree: true, childList: true, attributeFilter: ['aria-pressed'] });"
    "new ResizeObserver(show).observe(element);"  # also when its tab is shown
)
"""Scrolls a strip of buttons sideways to the pressed one. Not scrollIntoView, which would scroll the page as well."""


def picks(value: str = "", *, attribute: str, is_strip: bool = False, js_more: str = "", **settings: Any) -> gr.HTML:
    """HTML whose elements with `data-<attribute>` can be clicked; the event's `value` is the attribute's value. In a
    strip, which scrolls sideways on a phone, the pressed one stays in sight. `js_more`: runs when the element appears.
    """
    js = (
        (KEEP_PRESSED_IN_SIGHT if is_strip else "")
        + js_more
        + (
            "element.addEventListener('click', (event) => {"
            f" const picked = event.target.closest('[data-{attribute}]');"
            f" if (picked) trigger('click', {{ value: picked.dataset.{attribute} }}); }});"
        )
    )
    return html(value, js_on_load=js, **settings)


def tells(event: str) -> str:
    """JavaScript for `js_more`: dispatches the event on the document when the element appears, and whenever it shows
    something else.
    """
    return (
        f"const tell = () => document.dispatchEvent(new Event('{event}'));"
        "new MutationObserver(tell).observe(element, { subtree: true, childList: true }); setTimeout(tell);"
    )


def page_script() -> str:
    """The listeners of the whole page: theme, folds, pickers, copying; of its forms; of its charts; of tokens; of programs in a frame."""
    return "\n".join(
        (ASSETS / name).read_text(encoding="utf-8")
        for name in ("page.js", "form.js", "chart.js", "tokens.js", "see.js")
    )


def ask(kind: type[Input], *args: Any, **settings: Any) -> Input:
    """An input. Without interactive=True, Gradio greys out inputs that no event reads."""
    return kind(*args, interactive=True, **settings)  # type: ignore[call-arg]


def editor(value: str, **settings: Any) -> gr.Textbox:
    """A field for code. Not gr.Code, which strips its value: the last newline of a prompt changes the completion."""
    return gr.Textbox(
        value, lines=7, max_lines=16, show_label=False, container=False, interactive=True, autofocus=False, **settings
    )


def for_owners(text: str) -> gr.HTML:
    """The hint that visitors see where the owner has buttons, whose elements have the class `owners`."""
    return html(render("hint", text=text), elem_classes="visitors")


def card(*classes: str, **settings: Any) -> gr.Column:
    return gr.Column(elem_classes=["card", *classes], min_width=0, **settings)


def tab_title(title: str) -> gr.HTML:
    """A tab's heading, for screen readers: the bar shows it already."""
    return html(render("tab_title", title=title), elem_classes="tab-title")


def head(title: str, note: str = "", *, fold: bool = False) -> gr.HTML:
    """The first line of a card; with `fold`, the rest of the card is collapsed on a phone until it is opened."""
    return html(render("card_head", title=title, note=note, fold=fold))
