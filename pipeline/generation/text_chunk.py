"""What streams back from the generator: text as it is written. Knows nothing of torch."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class TextChunk:
    """A stretch of one completion. All texts of a sample, joined, are its completion; its last piece is `done`."""

    sample: int
    """Which completion of the prompt, from 0."""
    text: str = ""
    """What was written since the piece before."""
    done: bool = False
    tokens: int = 0
    """New tokens of this sample so far, the end-of-text token included."""
    seconds: float = 0.0
    """Since this sample was begun, loading the model not included."""
    finish: str | None = None
    """Why the sample is done: `end-of-text`, `length` or `stopped`."""
    note: str = ""
    """Something to tell whoever asked, for example that fewer tokens fit than were asked for."""
    place: int | None = None
    """Of the whole request in the queue, from 1, while it waits; such a piece has no text."""

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def joined(pieces: Iterable[TextChunk]) -> Iterator[TextChunk]:
    """Pieces of the same sample that follow each other, as one."""
    for _, group in itertools.groupby(pieces, key=lambda piece: piece.sample):
        together = list(group)
        yield dataclasses.replace(together[-1], text="".join(piece.text for piece in together))
