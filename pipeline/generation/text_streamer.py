"""Converts the tokens of one completion to chunks of text as they arrive. Does not depend on models or pipes."""

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
    """The streamer for `generate` of transformers, which puts the prompt first and then each token.

    A character may span several tokens, so decoding tokens one by one would split it. So all tokens are decoded each
    time. Replacement characters at the end are held back, because the next token may complete the character.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, sample: int, on_text: OnText | None) -> None:
        self._tokenizer = tokenizer
        self._sample = sample
        self._on_text = on_text
        self._token_ids: list[int] | None = None  # None until the prompt was put
        self._started = time.perf_counter()
        self.text = ""

    def put(self, value: torch.Tensor) -> None:
        if self._token_ids is None:
            self._token_ids = []
            return
        self._token_ids += value.tolist()
        self._send(self._decoded().rstrip("\N{REPLACEMENT CHARACTER}"))

    def end(self) -> None:
        """Does nothing: `finish` ends the sample, also one that was stopped before it started."""

    def finish(self, max_new_tokens: int, eos_id: int | None, note: str) -> None:
        """Send the text that was held back and the finish reason."""
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
