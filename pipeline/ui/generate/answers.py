"""The completions of a prompt, while they are written and afterwards. Does not depend on Gradio."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pipeline.artifacts.revision import Revision
from pipeline.core.errors import PipelineError
from pipeline.gallery.example import Example
from pipeline.generation.text_chunk import TextChunk


@dataclass
class Answer:
    """The completions that one revision has written so far."""

    revision: Revision | Example
    """The revision, or a kept example: both have revision, run, step and evaluation loss."""
    texts: list[str]
    note: str = ""
    engine: str = ""
    """What it was computed with."""
    place: int | None = None
    """Place in the queue, from 1, while it waits."""
    done: dict[int, tuple[int, float]] = field(default_factory=dict)
    """By sample index: its tokens and seconds."""
    token_ids: dict[int, list[int]] = field(default_factory=dict)
    """By sample index: the tokens of its text."""
    finishes: dict[int, str | None] = field(default_factory=dict)
    """By sample index: why it ended. A sample that is still written has none."""

    def add(self, chunk: TextChunk) -> None:
        self.texts[chunk.sample] += chunk.text
        self.token_ids.setdefault(chunk.sample, []).extend(chunk.token_ids)
        self.done[chunk.sample] = (chunk.tokens, chunk.seconds)
        self.note = chunk.note or self.note
        self.engine = chunk.engine or self.engine
        self.place = chunk.place
        if chunk.done:
            self.finishes[chunk.sample] = chunk.finish

    @property
    def is_loading(self) -> bool:
        """Whether its model is still being loaded: it has no token yet and does not wait in the queue."""
        return self.place is None and not self.finishes and not any(tokens for tokens, _ in self.done.values())

    @property
    def young(self) -> Revision | None:
        """Its revision, if that has hardly read anything. A kept example does not know."""
        return self.revision if isinstance(self.revision, Revision) and self.revision.is_young else None

    @property
    def is_complete(self) -> bool:
        return len(self.finishes) == len(self.texts)

    @property
    def is_stopped(self) -> bool:
        return "stopped" in self.finishes.values()

    @property
    def tokens_per_second(self) -> float | None:
        """Of all samples together, which are written at the same time."""
        seconds = max((s for _, s in self.done.values()), default=0)
        return sum(n for n, _ in self.done.values()) / seconds if seconds else None


@dataclass
class Completion:
    """Everything that the completion card shows: a prompt and the answers of one revision, or of two to compare."""

    prompt: str
    sampling: dict[str, Any]
    answers: list[Answer] = field(default_factory=list)
    state: str = "running"
    """running, finished, stopped or failed: of all answers together, because the card has one state."""
    error: PipelineError | None = None
    """Why it failed."""
    example: Example | None = None
    """The kept example that this is."""
    remixed: Example | None = None
    """The kept example that this began from, which is shown beside it."""

    @property
    def is_live(self) -> bool:
        return self.state == "running"

    @property
    def num_characters(self) -> int:
        """Of all that was written."""
        return sum(len(text) for answer in self.answers for text in answer.texts)

    @property
    def has_text(self) -> bool:
        return self.num_characters > 0


@dataclass(frozen=True)
class Result:
    """A completion that can be kept, with all data needed to show it again unchanged."""

    prompt: str
    sampling: dict[str, Any]
    revision: Revision
    texts: list[str]
    remix_of: str = ""
    """Id of the example that it began from."""
    beside: str = ""
    """The other revision that wrote for the same prompt, whose texts are not part of it."""

    @classmethod
    def of(cls, completion: Completion, revision: Revision) -> Result | None:
        """What `revision` wrote first in `completion`; None when that failed, or was stopped before there was text."""
        first = next(iter(completion.answers), None)
        if first is None or not first.is_complete or not any(first.texts):
            return None
        remix_of = completion.remixed.id if completion.remixed else ""
        beside = completion.answers[1].revision.revision if len(completion.answers) > 1 else ""
        return cls(completion.prompt, completion.sampling, revision, first.texts, remix_of, beside)
