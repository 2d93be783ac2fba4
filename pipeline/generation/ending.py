"""Where a completion ends by its text: at the end of its line, or of the function that it writes. Does not depend on torch."""

from __future__ import annotations

import re

LENGTH, LINE, FUNCTION = "length", "line", "function"
STOPS = (LENGTH, LINE, FUNCTION)
DEFINITION = re.compile(r"^([ \t]*)(?:async[ \t]+def|def|class)\b", re.MULTILINE)
CLOSING = (")", "]", "}")


class Ending:
    """Looks at the text of one completion as it grows."""

    def __init__(self, prompt: str, stop_at: str) -> None:
        self._prompt = prompt
        self._stop_at = stop_at

    def shown(self, text: str) -> tuple[str, bool]:
        """The part of `text` that belongs to the completion, and whether the completion ends there. Blanks at the end are
        held back: they may be those of a line that no longer belongs to it.
        """
        if self._stop_at == LENGTH:
            return text, False
        end = _end_of_line(text) if self._stop_at == LINE else _end_of_function(self._prompt, text)
        return text[:end].rstrip(), end is not None


def _end_of_line(text: str) -> int | None:
    """Where the first line that is not blank ends."""
    start = len(text) - len(text.lstrip())
    end = text.find("\n", start)
    return end if end >= 0 else None


def _end_of_function(prompt: str, text: str) -> int | None:
    """Where the first line begins that is not a part of the function, or class, that the prompt ends in; without one, of
    the first that the text begins.
    """
    whole = prompt + text
    last = next(reversed(list(DEFINITION.finditer(prompt))), None)
    definition = last or DEFINITION.search(whole, prompt.rfind("\n") + 1)
    if definition is None:
        return None
    depth = len(definition[1].expandtabs())
    has_body = False
    for line in re.finditer(r"^([ \t]*)(\S.*)", whole, re.MULTILINE):
        if line.start() <= definition.start():
            continue
        is_inside = len(line[1].expandtabs()) > depth or line[2].startswith(CLOSING)
        if not is_inside and has_body and line.start() >= len(prompt):
            return line.start() - len(prompt)
        has_body = has_body or is_inside
    return None
