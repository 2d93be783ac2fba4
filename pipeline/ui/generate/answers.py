"""What a revision made of a prompt, while it writes and afterwards. Knows nothing of Gradio."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pipeline.artifacts.revision import Revision
from pipeline.gallery.example import Example
from pipeline.generation.text_chunk import TextChunk


@dataclass
class Answer:
    """What one revision wrote, so far."""

    revision: Revision | Example
    """The revision, or the kept example: both name revision, run, step and evaluation loss."""
    texts: list[str]
    is_live: bool = True
    note: str = ""
    done: dict[int, tuple[int, float]] = field(default_factory=dict)
    """Tokens and seconds of each sample."""

    def add(self, piece: TextChunk) -> None:
        self.texts[piece.sample] += piece.text
        self.done[piece.sample] = (piece.tokens, piece.seconds)
        self.note = piece.note or self.note

    @property
    def tokens_per_second(self) -> float | None:
        seconds = sum(s for _, s in self.done.values())
        return sum(n for n, _ in self.done.values()) / seconds if seconds else None


@dataclass(frozen=True)
class Result:
    """A completion that can be kept: everything needed to show it again as it was."""

    prompt: str
    sampling: dict[str, Any]
    revision: Revision
    texts: list[str]
