"""Renders the Jinja2 templates of assets/templates. Autoescape is always on: every value is text unless made here."""

from __future__ import annotations

import itertools
from functools import cache
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import escape

from pipeline.core.text import with_unseen_shown
from pipeline.jobs.state import ACTIVE, RESUMABLE
from pipeline.ui.shared import formats, highlight
from pipeline.ui.shared.texts import ASSETS, t

GLYPHS = {
    "queued": "…",
    "starting": "◔",
    "running": "●",
    "stopping": "◑",
    "stopped": "■",
    "finished": "✓",
    "scanned": "◇",
    "failed": "!",
    "interrupted": "!",
    "registered": "✓",
    "uploading": "↑",
    "pushed": "✓",
    "superseded": "–",
    "retrying": "↻",
    "refused": "!",
    "idle": "○",
    "kept": "★",
    "hidden": "◌",
    "pinned": "◆",
    "approved": "✓",
    "reported": "!",
}
"""The sign of each state. A state is shown by a colour, a sign and a word."""


_numbers = itertools.count(1)
"""Of notices: by it form.js sees that a button gave the same answer again."""


@cache
def environment() -> Environment:
    env = Environment(
        loader=FileSystemLoader(ASSETS / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,  # do not check the modification time of each template at each rendering
    )
    env.globals.update(t=t, glyphs=GLYPHS, ACTIVE=ACTIVE, RESUMABLE=RESUMABLE)
    env.globals.update(python_html=highlight.python_html, numbered=highlight.numbered)
    for name in (
        "whole",
        "loss",
        "perplexity",
        "rate",
        "percent",
        "chance",
        "signed",
        "visible",
        "compact",
        "three_digits",
        "size",
        "binary",
        "duration",
        "ago",
    ):
        env.filters[name] = getattr(formats, name)
    env.filters["unseen_shown"] = with_unseen_shown
    return env


def render(template: str, **values: Any) -> str:
    """The template `assets/templates/<template>.html.j2` with `values`. A missing value raises UndefinedError."""
    return environment().get_template(f"{template}.html.j2").render(**values)


def notice(message: str, *, title: str | None = None, kind: str = "bad", field: str = "", more: str = "") -> str:
    """A message: an error (`bad`), a warning (`warn`) or a success (`good`). `field`: id of the field that it concerns;
    `more`: a second paragraph.
    """
    return render("notice", kind=kind, title=title, message=message, field=field, more=more, number=next(_numbers))


def blank(title: str, message: str) -> str:
    """A placeholder where there is nothing yet: what will be there, then what to do."""
    return render("blank", title=title, message=message)


def escape_text(text: str) -> str:
    """`text` escaped for Gradio's errors, warnings and notes, which Gradio shows as HTML."""
    return str(escape(text))
