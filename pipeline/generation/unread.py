"""The answers to one request that were not read yet; a reader that does not read costs no more than the text itself."""

from __future__ import annotations

import threading
from typing import Any

from pipeline.generation.text_chunk import TextChunk, joined

MOST_UNREAD = 256
"""Beyond them neighbouring pieces are joined."""


class Unread:
    """A queue of answers whose pieces grow together while nobody takes them."""

    def __init__(self) -> None:
        self._answers: list[dict[str, Any]] = []
        self._has_come = threading.Condition()

    def put(self, answer: dict[str, Any]) -> None:
        with self._has_come:
            self._answers.append(answer)
            if len(self._answers) > MOST_UNREAD:
                self._join()
            self._has_come.notify_all()

    def take(self, seconds: float) -> list[dict[str, Any]]:
        """All of them; waits for one for at most `seconds`, and returns none then."""
        with self._has_come:
            self._has_come.wait_for(lambda: self._answers, seconds)
            found, self._answers = self._answers, []
            return found

    def _join(self) -> None:
        pieces = joined(TextChunk(**answer["piece"]) for answer in self._answers if "piece" in answer)
        others = [answer for answer in self._answers if "piece" not in answer]  # the last words, which come last
        self._answers = [*({"piece": piece.to_dict()} for piece in pieces), *others]
