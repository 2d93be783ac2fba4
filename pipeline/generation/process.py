"""Text from a pushed revision, streamed out of a process of its own: the page itself never imports torch.

That process starts with the first request, keeps the last models, and is started again after a crash. Knows nothing of
gradio.
"""

from __future__ import annotations

import atexit
import secrets
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pipeline.core.errors import InputError, PipelineError
from pipeline.core.paths import Home
from pipeline.core.settings import Settings
from pipeline.generation.choose import choose
from pipeline.generation.settings import Sampling, check_prompt, check_sampling
from pipeline.generation.subprocess_client import Child, Request
from pipeline.generation.text_chunk import TextChunk, joined

if TYPE_CHECKING:
    from pipeline.artifacts.revision import Revision

SILENCE_SECONDS = 120.0
"""Longest time without a word from the generator, importing torch and reading a model from a slow disk included."""


class Generator:
    """Completes prompts, many at the same time, in turns. Any thread may call it; one page needs one."""

    def __init__(self, settings: Settings, *, silence_seconds: float = SILENCE_SECONDS) -> None:
        self._limits = settings.limits
        self._log = Home(settings.home).generator_log
        self._silence_seconds = silence_seconds
        self._lock = threading.Lock()
        self._child: Child | None = None
        atexit.register(self.close)

    def stream(
        self, revision: Revision, prompt: str, sampling: Sampling, *, visitor: str = "", asked_by: str = ""
    ) -> Iterator[TextChunk]:
        """The completions of `prompt` as they are written, one sample after the other; each ends with a `done` piece.
        While the request waits, pieces without text tell its place.

        `visitor` is whom turns and quotas count by, "" the owner. Closing the iterator stops the writing within a token,
        and so does `stop(asked_by)` from another thread; then the samples end with finish `stopped`. Raises InputError
        for a prompt or sampling that cannot be, BusyError when too many are open, DamagedError's sentence when the
        revision is, PipelineError when the generator ended.
        """
        check_prompt(prompt, self._limits)
        check_sampling(sampling, self._limits)
        child = self._running_child()
        question = {"revision_path": str(revision.path), "prompt": prompt, "sampling": sampling.to_dict()}
        request = child.ask(question, visitor, asked_by or secrets.token_hex())  # what nobody can name nobody stops
        try:
            yield from _pieces(child, request, sampling.samples)
        finally:
            child.forget(request)

    def generate(
        self, revision: Revision, prompt: str, sampling: Sampling, *, visitor: str = "", asked_by: str = ""
    ) -> dict[str, Any]:
        """`stream`, waited for: the samples and how they were written."""
        texts = [""] * sampling.samples
        ends = []
        for piece in self.stream(revision, prompt, sampling, visitor=visitor, asked_by=asked_by):
            texts[piece.sample] += piece.text
            ends += [piece] if piece.done else []
        seconds = sum(piece.seconds for piece in ends)
        return {
            "samples": texts,
            "revision": revision.revision,
            "run": revision.run,
            "step": revision.step,
            "tokens_per_second": round(sum(piece.tokens for piece in ends) / seconds, 1) if seconds else None,
            "finish": [piece.finish for piece in ends],
            "note": ends[0].note,
        }

    def stop(self, asked_by: str) -> None:
        """Stop the requests of `asked_by`, waiting or being written; "" is nobody's."""
        with self._lock:
            if self._child is not None and asked_by:
                self._child.stop(asked_by)

    def unload(self) -> None:
        """End the process, so that training has the memory and the GPU for itself; the next request starts it again."""
        with self._lock:
            child, self._child = self._child, None
        if child is not None:
            child.end("it was put away")

    def close(self) -> None:
        """End the process for good."""
        atexit.unregister(self.close)
        self.unload()

    def _running_child(self) -> Child:
        with self._lock:
            if self._child is None or self._child.has_ended:
                self._child = Child(self._log, self._silence_seconds)
            return self._child


def generate(
    settings: Settings, prompt: str, *, revision: str = "newest", sampling: Sampling | None = None
) -> dict[str, Any]:
    """Complete `prompt` once, with a generator of its own: what the command line does."""
    check_prompt(prompt, settings.limits)
    with closing(Generator(settings)) as generator:
        return generator.generate(choose(settings, revision), prompt, sampling or Sampling())


def _pieces(child: Child, request: Request, num_samples: int) -> Iterator[TextChunk]:
    """The answers to `request` as pieces. A reader that is slower than the writer gets fewer, longer ones."""
    last = [TextChunk(sample=sample) for sample in range(num_samples)]
    while True:
        answers = child.answers(request)
        for piece in joined(TextChunk(**answer["piece"]) for answer in answers if "piece" in answer):
            last[piece.sample] = piece
            yield piece
        for answer in answers:
            if "error" in answer:
                kind = InputError if answer["exit_status"] == InputError.exit_status else PipelineError
                raise kind(answer["error"])
            if "stopped" in answer:
                yield from (replace(piece, text="", done=True, finish="stopped") for piece in last if not piece.done)
            if "stopped" in answer or "done" in answer:
                return
