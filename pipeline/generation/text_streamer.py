"""Turns the tokens of one completion into pieces of text as they come. Knows nothing of models or pipes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase
from transformers.generation.streamers import BaseStreamer

from pipeline.generation.text_chunk import TextChunk

OnText = Callable[[TextChunk], None]


class TextStreamer(BaseStreamer):
    """Given to `generate` as its streamer: the prompt is put first, then token by token.

    A character may span several tokens, and decoding tokens one by one would tear it. So everything is decoded each
    time, and a replacement mark at the end, which the next token may still turn into a character, is held back.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, sample: int, on_text: OnText | None) -> None:
        self._tokenizer = tokenizer
        self._sample = sample
        self._on_text = on_text
        self._token_ids: list[int] | None = None  # None until the prompt, which comes first, has passed
        self._started = time.perf_counter()
        self.text = ""

    def put(self, value: torch.Tensor) -> None:
        if self._token_ids is None:
            self._token_ids = []
            return
        self._token_ids += value.tolist()
        self._send(self._decoded().rstrip("\N{REPLACEMENT CHARACTER}"))

    def end(self) -> None:
        """Nothing to do: `finish` also serves a sample that was stopped before it began."""

    def finish(self, max_new_tokens: int, eos_id: int | None, note: str) -> None:
        """Send what was held back and why the sample ended."""
        token_ids = self._token_ids or []
        if token_ids and token_ids[-1] == eos_id:
            reason = "end-of-text"
        else:
            reason = "length" if len(token_ids) == max_new_tokens else "stopped"
        self._send(self._decoded(), done=True, finish=reason, note=note)

    def _decoded(self) -> str:
        text = self._tokenizer.decode(
            self._token_ids or [], skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        assert isinstance(text, str)
        return text

    def _send(self, text: str, **facts: Any) -> None:
        new = text[len(self.text) :]
        self.text = text
        if self._on_text is not None:
            seconds = time.perf_counter() - self._started
            tokens = len(self._token_ids or [])
            self._on_text(TextChunk(sample=self._sample, text=new, tokens=tokens, seconds=seconds, **facts))
