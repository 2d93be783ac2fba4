"""HTML from the Jinja2 templates of assets/templates. Autoescape is always on: every value is text unless made here."""

from __future__ import annotations

from functools import cache
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import escape

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
    "reported": "!",
}
"""Beside its colour, every state has a sign and a word."""


@cache
def environment() -> Environment:
    env = Environment(
        loader=FileSystemLoader(ASSETS / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,  # no look at each template's date for each rendering
    )
    env.globals.update(t=t, glyphs=GLYPHS, ACTIVE=ACTIVE, RESUMABLE=RESUMABLE)
    env.globals.update(python_html=highlight.python_html, numbered=highlight.numbered)
    for name in ("whole", "loss", "perplexity", "rate", "percent", "compact", "size", "binary", "duration", "ago"):
        env.filters[name] = getattr(formats, name)
    return env


def render(template: str, **values: Any) -> str:
    """The template `assets/templates/<template>.html.j2` filled with `values`. A missing value is our own mistake."""
    return environment().get_template(f"{template}.html.j2").render(**values)


def notice(message: str, *, title: str | None = None, kind: str = "bad") -> str:
    """What went wrong (`bad`), what to think of (`warn`) or what was done (`good`)."""
    return render("notice", kind=kind, title=title, message=message)


def blank(title: str, message: str) -> str:
    """What stands where there is nothing yet: what it is, then what to do."""
    return render("blank", title=title, message=message)


def escape_text(text: str) -> str:
    """`text` for the few places of Gradio that take text for HTML: its errors, warnings and notes."""
    return str(escape(text))
