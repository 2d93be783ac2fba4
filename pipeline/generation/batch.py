"""Writes several texts of one model together, a token of each per step. Does not depend on requests or pipes.

A text joins and leaves between two steps, so none waits for another one to end.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import PreTrainedTokenizerBase

from pipeline.core.errors import PipelineError
from pipeline.generation.decoder import Cache, Decoder, Span
from pipeline.generation.ending import LENGTH
from pipeline.generation.next_token import Choice, choose
from pipeline.generation.settings import Sampling
from pipeline.generation.text_streamer import TextStreamer

CHUNK = 128
"""Tokens of a prompt that are read in one step, so that a long one does not hold up the other texts."""


class Text:
    """One completion that is being written."""

    def __init__(
        self, decoder: Decoder, prompt: Sequence[int], sampling: Sampling, max_new_tokens: int, streamer: TextStreamer
    ) -> None:
        self.streamer = streamer
        self.choice = Choice(sampling, streamer.sample)
        self.is_done = False
        self._decoder = decoder
        self._unread = list(prompt)
        self._max_new_tokens = max_new_tokens
        self._cache: Cache | None = None
        self._positions = len(prompt) + max_new_tokens

    def span(self) -> Span:
        """The tokens that its next step reads."""
        if self._cache is None:
            self._cache = Cache(self._decoder, self._positions)
        tokens, self._unread = self._unread[:CHUNK], self._unread[CHUNK:]
        return Span(self._cache, tokens)

    @property
    def has_read(self) -> bool:
        """Whether the step after which it is asked gave its next token; else it only read a part of the prompt."""
        return not self._unread

    def take(self, token: int, end: int | None) -> None:
        self._unread = [token]
        self.streamer.put(token)
        if token == end:
            self.finish("end-of-text")
        elif self.streamer.is_over:
            self.finish(self.choice.sampling.stop_at)
        elif len(self.streamer.token_ids) == self._max_new_tokens:
            self.finish(LENGTH)

    def finish(self, reason: str) -> None:
        """End it, also before its first step, and free its cache."""
        self.is_done = True
        self._cache = None
        self.streamer.finish(reason)


def step(decoder: Decoder, tokenizer: PreTrainedTokenizerBase, texts: Sequence[Text]) -> list[Text]:
    """Write the next token of each text. Returns those whose logits are not finite, which cannot go on."""
    logits = decoder.logits([text.span() for text in texts])
    is_finite = logits.isfinite().all(dim=1).tolist()
    ready = [row for row, text in enumerate(texts) if is_finite[row] and text.has_read]
    if ready:
        tokens = choose(logits[torch.tensor(ready, device=logits.device)], [texts[row].choice for row in ready])
        for row, token in zip(ready, tokens, strict=True):
            texts[row].take(token, tokenizer.eos_token_id)
    return [text for row, text in enumerate(texts) if not is_finite[row]]


def not_finite() -> PipelineError:
    return PipelineError(
        "The model predicts NaN or infinity; choose an earlier revision, or train with a lower learning rate."
    )
