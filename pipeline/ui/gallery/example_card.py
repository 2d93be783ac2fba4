"""What the gallery shows of one example: the beginning of its code, never more than a few kilobytes of HTML."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup, escape

from pipeline.gallery.example import Example
from pipeline.gallery.moderation import State
from pipeline.ui.shared.highlight import clean, python_html

MOST_LINES = 12
"""Of the prompt's last line and the completion together."""
MOST_CHARACTERS = 1_200
"""Likewise."""
GIVEN_CHARACTERS = 400
"""Of them, for the prompt's last line."""
MOST_HTML_CHARACTERS = 8_000
"""Code that takes more, because nearly every character has a colour of its own, is shown without colours."""


@dataclass(frozen=True)
class ExampleCard:
    """One card."""

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
        new = beginning(text, max_lines=MOST_LINES - 1, max_characters=MOST_CHARACTERS - len(given))
        return cls(example, state, _coloured(given), _coloured(new))


def beginning(text: str, *, max_lines: int, max_characters: int) -> str:
    """`text`, or its beginning and "…", which is within the limits too."""
    shown = "\n".join(text.split("\n", max_lines)[:max_lines])
    if len(shown) > max_characters or len(shown) < len(text):
        return shown[: max_characters - 1] + "…"
    return shown


def _coloured(code: str) -> Markup:
    coloured = python_html(code)
    return coloured if len(coloured) <= MOST_HTML_CHARACTERS else escape(code)
