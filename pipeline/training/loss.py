"""Cross-entropy per token, and the weighting of windows that hold key tokens (course, chapter 7, section 6).

The shift by one is in here: position t is asked for token t + 1. Every token counts, end-of-text too, so the model
learns where a file ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import GPT2LMHeadModel

from pipeline.config.schema import KEY_TOKEN_CONTROL
from pipeline.training.cross_entropy import CrossEntropy


class NextTokenLoss(nn.Module):
    """A model that answers with its losses: what is trained, compiled and divided among processes.

    The losses are taken inside, not from its logits, as those are the largest thing a step makes: what prepares a model
    for half precision would turn all that leaves it into float32, and cutting off the last position would copy them again.
    """

    def __init__(self, model: GPT2LMHeadModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor) -> Tensor:
        """`input_ids`: int64[batch, time]. Returns float32[batch, time - 1]: the loss of each next token."""
        hidden = self.model.transformer(input_ids=input_ids, use_cache=False).last_hidden_state
        return token_losses(self.model.lm_head(hidden[:, :-1]), input_ids[:, 1:])


def token_losses(logits: Tensor, wanted: Tensor) -> Tensor:
    """`logits`: float[batch, time, vocab], `wanted`: int64[batch, time]. Returns float32[batch, time]."""
    logits, targets = logits.flatten(0, 1), wanted.flatten()
    if torch.compiler.is_compiling():  # the compiler turns logits into float32 on their way into the loss, one by one
        losses = F.cross_entropy(logits.float(), targets, reduction="none")
    else:
        losses = CrossEntropy.apply(logits, targets)
    return losses.view(wanted.shape)


@dataclass(frozen=True)
class KeyToken:
    """One spelling of a key word, and whether the tokenizer has a token of its own for it."""

    text: str
    ids: tuple[int, ...]
    is_control: bool = False

    @property
    def counts(self) -> bool:
        return len(self.ids) == 1 and not self.is_control

    def __str__(self) -> str:
        if self.counts:
            return f"{self.text!r} single token {self.ids[0]}"
        tokens = "1 token" if len(self.ids) == 1 else f"{len(self.ids)} tokens"
        return f"{self.text!r} is {tokens}: not counted{' (control)' if self.is_control else ''}"

    def to_dict(self) -> dict[str, Any]:
        """As it stands in status.json."""
        return {"text": self.text, "ids": list(self.ids), "counted": self.counts, "control": self.is_control}


class KeyTokens:
    """The key tokens of one vocabulary. Those that are cut into several tokens are reported, not counted."""

    def __init__(self, tokens: Sequence[KeyToken]) -> None:
        self.tokens = tuple(tokens)
        self.ids = sorted({token.ids[0] for token in tokens if token.counts})

    @classmethod
    def find(cls, tokenizer: Any, words: Sequence[str]) -> KeyTokens:
        """Look up each word as it is and with a leading space, then the control, which should not be one token."""

        def look_up(text: str, is_control: bool = False) -> KeyToken:
            return KeyToken(text, tuple(tokenizer.encode(text, add_special_tokens=False)), is_control)

        spellings = [spelling for word in words for spelling in (word, f" {word}")]
        return cls([*map(look_up, spellings), look_up(KEY_TOKEN_CONTROL, is_control=True)])

    def window_weights(self, input_ids: Tensor, alpha: float) -> Tensor:
        """float32[batch]: alpha * (1 + the number of key tokens in each window of int64[batch, time])."""
        hits = torch.isin(input_ids, torch.tensor(self.ids, dtype=input_ids.dtype, device=input_ids.device))
        return alpha * (1.0 + hits.sum(dim=1).float())

    def __str__(self) -> str:
        found = "; ".join(str(token) for token in self.tokens)
        if self.ids:
            return f"key tokens: {found}"
        return f"key tokens: {found}; none is a single token, so every window weighs the same"

    def to_list(self) -> list[dict[str, Any]]:
        return [token.to_dict() for token in self.tokens]
