"""Cross-entropy per token, and the weighting of windows that contain key tokens (course, chapter 7, section 6).

The shift by one happens here: position t predicts token t + 1. Every token counts, end-of-text too, so the model learns
where a file ends.
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
    """A model that returns its losses. This module is what is trained, compiled and distributed over processes.

    The losses are computed inside the module because its logits are the largest tensor of a step. Accelerate's
    preparation for half precision would convert all outputs to float32, and slicing off the last position would copy
    them again.
    """

    def __init__(self, model: GPT2LMHeadModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor) -> Tensor:
        """`input_ids`: int64[batch, time]. Returns float32[batch, time - 1]: the loss of each next token."""
        hidden = self.model.transformer(input_ids=input_ids, use_cache=False).last_hidden_state
        return token_losses(self.model.lm_head(hidden[:, :-1]), input_ids[:, 1:])


def token_losses(logits: Tensor, targets: Tensor) -> Tensor:
    """`logits`: float[batch, time, vocab], `targets`: int64[batch, time]. Returns float32[batch, time]."""
    flat_logits, flat_targets = logits.flatten(0, 1), targets.flatten()
    if torch.compiler.is_compiling():  # the compiler fuses the conversion to float32 into the loss
        losses = F.cross_entropy(flat_logits.float(), flat_targets, reduction="none")
    else:
        losses = CrossEntropy.apply(flat_logits, flat_targets)
    return losses.view(targets.shape)


@dataclass(frozen=True)
class KeyToken:
    """One spelling of a key word and its token ids. It counts only if it is a single token, and not the control."""

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
        """As stored in status.json."""
        return {"text": self.text, "ids": list(self.ids), "counted": self.counts, "control": self.is_control}


class KeyTokens:
    """The key tokens of one vocabulary. Spellings that are split into several tokens are reported, not counted."""

    def __init__(self, tokens: Sequence[KeyToken]) -> None:
        self.tokens = tuple(tokens)
        self.ids = sorted({token.ids[0] for token in tokens if token.counts})

    @classmethod
    def find(cls, tokenizer: Any, words: Sequence[str]) -> KeyTokens:
        """Look up each word with and without a leading space, then the control word, which should not be one token."""

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
