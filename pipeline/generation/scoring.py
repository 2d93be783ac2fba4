"""How well a model predicts a text: its mean token loss and perplexity. Does not depend on processes or revisions."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.nn import functional
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from pipeline.core.errors import require
from pipeline.generation.sampling import encode
from pipeline.generation.settings import check_text


def score(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, text: str) -> dict[str, Any]:
    """Mean loss, in nats per token, and perplexity of `text`, read in windows as long as the model's positions.

    The first token of each window has no context and is not scored. Raises InputError when the text is shorter than two
    tokens.
    """
    token_ids = encode(tokenizer, check_text("text", text))
    require(len(token_ids) >= 2, "text", text, "give at least two tokens of it")
    length = model.config.max_position_embeddings
    total, count = 0.0, 0
    with torch.inference_mode():
        for start in range(0, len(token_ids) - 1, length):
            ids = torch.tensor([token_ids[start : start + length]], device=model.device)  # int64[1, time]
            if ids.shape[1] < 2:
                break
            logits = model(ids).logits[0, :-1].float()
            total += functional.cross_entropy(logits, ids[0, 1:], reduction="sum").item()
            count += ids.shape[1] - 1
    loss = total / count
    return {"loss": loss, "perplexity": math.exp(min(loss, 700.0)), "tokens": len(token_ids), "tokens_scored": count}
