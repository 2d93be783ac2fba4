"""The buffer of unread answers to one request. A slow reader costs no more memory than the text itself."""

from __future__ import annotations

import threading
from typing import Any

from pipeline.generation.text_chunk import TextChunk, joined

MAX_UNREAD = 256
"""Max buffered answers; above it, consecutive chunks are joined."""


class Unread:
    """A queue of answers that joins consecutive chunks while nobody takes them."""

    def __init__(self) -> None:
        self._answers: list[dict[str, Any]] = []
        self._arrived = threading.Condition()

    def put(self, answer: dict[str, Any]) -> None:
        with self._arrived:
            self._answers.append(answer)
            if len(self._answers) > MAX_UNREAD:
                self._join()
            self._arrived.notify_all()

    def take(self, seconds: float) -> list[dict[str, Any]]:
        """Remove and return all answers. Waits up to `seconds` for the first one; empty after that."""
        with self._arrived:
            self._arrived.wait_for(lambda: self._answers, seconds)
            answers, self._answers = self._answers, []
            return answers

    def _join(self) -> None:
        chunks = joined(TextChunk(**answer["chunk"]) for answer in self._answers if "chunk" in answer)
        others = [answer for answer in self._answers if "chunk" not in answer]  # final answers, which follow all chunks
        self._answers = [*({"chunk": chunk.to_dict()} for chunk in chunks), *others]
