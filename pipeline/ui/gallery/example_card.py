"""One example's card in the gallery: the beginning of its code, limited to a few kilobytes of HTML."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup, escape

from pipeline.core.text import with_unseen_shown
from pipeline.gallery.example import Example
from pipeline.gallery.moderation import State
from pipeline.ui.shared.highlight import clean, python_html

MAX_LINES = 12
"""Limit for the prompt's last line and the completion together."""
MAX_CHARACTERS = 1_200
"""Limit for the prompt's last line and the completion together."""
GIVEN_CHARACTERS = 400
"""Limit for the prompt's last line."""
MAX_HTML_CHARACTERS = 8_000
"""Code whose highlighted HTML is longer, since nearly every character has its own span, is shown without colours."""


@dataclass(frozen=True)
class ExampleCard:
    """The data of one card."""

    example: Example
    state: State
    given: Markup
    """The prompt's last line."""
    new: Markup
    """The beginning of the first completion."""

    @classmethod
    def of(cls, example: Example, state: State) -> ExampleCard:
        last_line = clean(example.prompt).strip().rpartition("\n")[2]
        given = beginning(last_line, max_lines=1, max_characters=GIVEN_CHARACTERS)
        text = clean(example.texts[0] if example.texts else "").strip("\n")
        new = beginning(text, max_lines=MAX_LINES - 1, max_characters=MAX_CHARACTERS - len(given))
        return cls(example, state, _coloured(given), _coloured(new))


def beginning(text: str, *, max_lines: int, max_characters: int) -> str:
    """`text`, or its beginning with "…" at the end. The limits include the "…"."""
    shown = "\n".join(text.split("\n", max_lines)[:max_lines])
    if len(shown) > max_characters or len(shown) < len(text):
        return shown[: max_characters - 1] + "…"
    return shown


def _coloured(code: str) -> Markup:
    coloured = python_html(code)
    return coloured if len(coloured) <= MAX_HTML_CHARACTERS else escape(with_unseen_shown(code))
