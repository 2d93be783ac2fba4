"""Converts the tokens of one completion to chunks of text as they arrive. Does not depend on models or pipes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from transformers import PreTrainedTokenizerBase

from pipeline.generation.ending import LENGTH, Ending, Ends
from pipeline.generation.text_chunk import TextChunk

OnText = Callable[[TextChunk], None]
HELD_BACK = "\N{REPLACEMENT CHARACTER}"


class TextStreamer:
    """A character may span several tokens, so decoding tokens one by one would split it. Replacement characters at the end
    are held back, because the next token may complete the character. New tokens are decoded after those of the last
    complete characters: a decoder may treat the first token of a text in another way.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        sample: int,
        on_text: OnText | None,
        note: str = "",
        engine: str = "",
        ending: Ends | None = None,
    ) -> None:
        """`note`: what the last chunk tells the user. `engine`: what every chunk says it was written with. `ending`: where
        the text ends by itself.
        """
        self.sample = sample
        self.token_ids: list[int] = []
        self.text = ""
        self.is_over = False
        """Whether the text has ended by itself."""
        self._ending = ending or Ending("", LENGTH)
        self._tokenizer = tokenizer
        self._on_text = on_text
        self._note = note
        self._engine = engine
        self._started = time.perf_counter()
        self._complete = ""
        """The text of the tokens before `_after`, which ends in a complete character."""
        self._before = self._after = 0

    def put(self, token_id: int) -> None:
        self.token_ids.append(token_id)
        text = self._whole()
        if not text.endswith(HELD_BACK):
            self._complete, self._before, self._after = text, self._after, len(self.token_ids)
        shown, self.is_over = self._ending.shown(text.rstrip(HELD_BACK))
        self._send(shown, token_ids=[token_id])

    def finish(self, reason: str) -> None:
        """Send the text that was held back and the finish reason."""
        self._send(self.text if self.is_over else self._whole(), done=True, finish=reason, note=self._note)

    def _whole(self) -> str:
        known = self._decoded(self.token_ids[self._before : self._after])
        return self._complete + self._decoded(self.token_ids[self._before :])[len(known) :]

    def _decoded(self, token_ids: list[int]) -> str:
        text = self._tokenizer.decode(token_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        assert isinstance(text, str)
        return text

    def _send(self, text: str, **facts: Any) -> None:
        new = text[len(self.text) :]
        self.text = text
        if self._on_text is not None:
            seconds = time.perf_counter() - self._started
            tokens = len(self.token_ids)
            self._on_text(
                TextChunk(sample=self.sample, text=new, tokens=tokens, seconds=seconds, engine=self._engine, **facts)
            )
