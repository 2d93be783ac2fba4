"""Where a completion ends by its text: at the end of its line, or of the function that it writes. Does not depend on torch."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

LENGTH, LINE, FUNCTION = "length", "line", "function"
STOPS = (LENGTH, LINE, FUNCTION)
DEFINITION = re.compile(r"(?:async[ \t]+def|def|class)\b")
LINES = re.compile(r"^([ \t]*)(\S.*)", re.MULTILINE)
"""Lines that are not blank: their indentation and the rest."""
CLOSING = (")", "]", "}")


class Ends(Protocol):
    """Decides where a completion ends, by its text."""

    def shown(self, text: str) -> tuple[str, bool]:
        """The part of `text` that belongs to the completion, and whether the completion ends there."""
        ...


class Ending:
    """Looks at the text of one completion as it grows."""

    def __init__(self, prompt: str, stop_at: str) -> None:
        self._stop_at = stop_at
        self._begun = prompt[prompt.rfind("\n") + 1 :]
        """The line of the prompt that the text goes on with."""
        self._open = _Function.open_in(prompt) if stop_at == FUNCTION else None

    def shown(self, text: str) -> tuple[str, bool]:
        """The part of `text` that belongs to the completion, and whether the completion ends there. Blanks at the end are
        held back: they may be those of a line that no longer belongs to it.
        """
        if self._stop_at == LENGTH:
            return text, False
        end = _end_of_line(text) if self._stop_at == LINE else self._end_of_function(text)
        return text[:end].rstrip(), end is not None

    def _end_of_function(self, text: str) -> int | None:
        """Where the first line begins that is not a part of the function, or class, that the prompt is in; when it is in
        none, of the first that the text begins.
        """
        function, shift = self._open, len(self._begun)
        for line in LINES.finditer(self._begun + text):
            if function is None:
                function = _Function.begun_by(line)
            elif line.start() < shift:
                function = function.after(line) or function  # the prompt has taken it in
            else:
                function = function.after(line)
                if function is None:
                    return line.start() - shift
        return None


@dataclass(frozen=True)
class _Function:
    """A function or class that is being written."""

    depth: int
    has_body: bool = False

    @classmethod
    def open_in(cls, prompt: str) -> _Function | None:
        """The one that the last line of the prompt may still belong to."""
        function: _Function | None = None
        for line in LINES.finditer(prompt):
            function = cls.begun_by(line) or (function and function.after(line))
        return function

    @classmethod
    def begun_by(cls, line: re.Match[str]) -> _Function | None:
        return cls(_depth(line)) if DEFINITION.match(line[2]) else None

    def after(self, line: re.Match[str]) -> _Function | None:
        """It with one more line; None when the line is not a part of it."""
        if _depth(line) > self.depth or line[2].startswith(CLOSING):
            return _Function(self.depth, has_body=True)
        return None if self.has_body else self


def _depth(line: re.Match[str]) -> int:
    return len(line[1].expandtabs())


def _end_of_line(text: str) -> int | None:
    """Where the first line that is not blank ends."""
    start = len(text) - len(text.lstrip())
    end = text.find("\n", start)
    return end if end >= 0 else None
