"""The unit in which generated text is streamed from the generator. Does not depend on torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class TextChunk:
    """Part of one completion. The joined texts of a sample are its completion; its last chunk is `done`."""

    sample: int
    """0-based index of the completion."""
    text: str = ""
    """Text generated since the previous chunk."""
    done: bool = False
    token_ids: Sequence[int] = ()
    """The tokens since the previous chunk, in the model's vocabulary; the last may reach beyond the text, where that ends
    with its line.
    """
    tokens: int = 0
    """New tokens of this sample so far, including the end-of-text token."""
    seconds: float = 0.0
    """Time since this sample was started, without loading the model."""
    finish: str | None = None
    """Why the sample is done: `end-of-text`, `line`, `function`, `length` or `stopped`."""
    note: str = ""
    """Message for the user, for example that fewer tokens fit than were requested."""
    engine: str = ""
    """What it was computed with, such as `int8 on 2 cores`."""
    place: int | None = None
    """1-based place of the whole request in the queue while it waits; such a chunk has no text."""

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def joined(chunks: Iterable[TextChunk]) -> Iterator[TextChunk]:
    """Merge the chunks of each sample into one."""
    by_sample: dict[int, list[TextChunk]] = {}
    for chunk in chunks:
        by_sample.setdefault(chunk.sample, []).append(chunk)
    for together in by_sample.values():
        yield dataclasses.replace(
            together[-1],
            text="".join(chunk.text for chunk in together),
            token_ids=[token_id for chunk in together for token_id in chunk.token_ids],
        )
