"""Writes several texts of one model together, a token of each per step. Does not depend on requests or pipes.

A text joins and leaves between two steps, so none waits for another one to end. The samples of a prompt read it once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from pipeline.core.errors import PipelineError
from pipeline.generation.decoder import Decoder, KeyValueCache, Span
from pipeline.generation.ending import LENGTH
from pipeline.generation.next_token import Sampler, choose
from pipeline.generation.text_streamer import TextStreamer

PREFILL_TOKENS = 128
"""Tokens of prompts that are read in one step, so that a long one does not hold up the texts of others. A prompt is always
read in parts of this size: other parts would change the last digits.
"""


class Prefill:
    """The tokens before one or several samples, and the cache that these begin with."""

    def __init__(self, decoder: Decoder, token_ids: Sequence[int], max_new_tokens: int, num_samples: int) -> None:
        self.decoder = decoder
        self.max_new_tokens = max_new_tokens
        self.logits: Tensor | None = None
        """After its last token: float32[vocabulary]; None until it was read."""
        self._unread = list(token_ids)
        self._positions = len(token_ids) + max_new_tokens
        self._cache: KeyValueCache | None = None
        self._num_waiting = num_samples

    @property
    def cache_bytes(self) -> int:
        """What the cache of one of its texts takes."""
        return self.decoder.cache_bytes(self._positions)

    @property
    def next_part(self) -> list[int]:
        return self._unread[:PREFILL_TOKENS]

    def span(self) -> Span:
        """Its next part, which counts as read from now on."""
        if self._cache is None:
            self._cache = KeyValueCache(self.decoder, self._positions)
        part = self.next_part
        self._unread = self._unread[len(part) :]
        return Span(self._cache, part)

    def note(self, logits: Tensor) -> None:
        """Take the logits after the part that was read."""
        if not self._unread:
            self.logits = logits

    def give_cache(self) -> KeyValueCache:
        """A cache of its own for a sample that begins."""
        assert self._cache is not None, "it was read"
        cache = self._cache if self._num_waiting == 1 else self._cache.copy()
        self.leave()
        return cache

    def leave(self) -> None:
        """A sample needs it no more."""
        self._num_waiting -= 1
        if not self._num_waiting:
            self._cache = self.logits = None


class Text:
    """One completion that is being written."""

    def __init__(self, prompt: Prefill, sampler: Sampler, streamer: TextStreamer) -> None:
        self.prompt = prompt
        self.sampler = sampler
        self.streamer = streamer
        self.is_done = False
        self._cache: KeyValueCache | None = None

    @property
    def is_begun(self) -> bool:
        return self._cache is not None

    def begin(self) -> None:
        self._cache = self.prompt.give_cache()

    def span(self) -> Span:
        assert self._cache is not None, "it has begun"
        return Span(self._cache, self.streamer.token_ids[-1:])

    def append(self, token: int, end: int | None) -> None:
        self.streamer.put(token)
        if token == end:
            self.finish("end-of-text")
        elif self.streamer.is_over:
            self.finish(self.sampler.sampling.stop_at)
        elif len(self.streamer.token_ids) == self.prompt.max_new_tokens:
            self.finish(LENGTH)

    def finish(self, reason: str) -> None:
        """End it, also before its first token, and free its cache."""
        if not self.is_begun:
            self.prompt.leave()
        self.is_done = True
        self._cache = None
        self.streamer.finish(reason)


@dataclass(frozen=True)
class Step:
    """What one step did."""

    broken: frozenset[Text]
    """Texts whose logits are not finite, which cannot go on."""
    num_read: tuple[int, ...]
    """For each text of the step, how many tokens were read for it."""


def step(decoder: Decoder, tokenizer: PreTrainedTokenizerBase, texts: Sequence[Text]) -> Step:
    """Write the next token of each text, or read a part of its prompt, as long as parts fit into the step."""
    readers = _readers([text for text in texts if not text.is_begun])
    writers = [text for text in texts if text.is_begun]
    spans = {text: text.prompt.span() for text in readers} | {text: text.span() for text in writers}
    logits = dict(zip(spans, decoder.logits(list(spans.values())), strict=True))
    for text in readers:
        text.prompt.note(logits.pop(text))
    for text in texts:
        if text not in writers and text.prompt.logits is not None:
            logits[text] = text.prompt.logits
            text.begin()
    broken = frozenset(text for text, row in logits.items() if not row.isfinite().all())
    ready = [text for text in logits if text not in broken]
    if ready:
        tokens = choose(torch.stack([logits[text] for text in ready]), [text.sampler for text in ready])
        for text, token in zip(ready, tokens, strict=True):
            text.append(token, tokenizer.eos_token_id)
    return Step(broken, tuple(len(spans[text].token_ids) if text in spans else 0 for text in texts))


def _readers(texts: Sequence[Text]) -> list[Text]:
    """Of each prompt that is read in this step its first text."""
    by_prompt = {text.prompt: text for text in reversed(texts) if text.prompt.logits is None}
    readers: list[Text] = []
    num_tokens = 0
    for text in reversed(by_prompt.values()):
        size = len(text.prompt.next_part)
        if not readers or num_tokens + size <= PREFILL_TOKENS:
            readers.append(text)
            num_tokens += size
    return readers


def not_finite() -> PipelineError:
    return PipelineError(
        "The model predicts NaN or infinity; choose an earlier revision, or train with a lower learning rate."
    )
