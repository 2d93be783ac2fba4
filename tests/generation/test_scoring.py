"""The score of a text, compared with the loss of transformers and a manual count of tokens."""

from __future__ import annotations

import math

import pytest
import torch
from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast

from pipeline.core.errors import InputError
from pipeline.generation.scoring import score
from tests.generation.models import insist_on, tiny_model

TEXT = "import pandas as pd\n\ndef load(path):\n    return pd.read_csv(path)\n"


def test_a_short_texts_loss_is_the_librarys(model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast) -> None:
    ids = torch.tensor([tokenizer.encode(TEXT)])
    assert ids.shape[1] <= model.config.n_positions
    with torch.no_grad():
        expected = model(ids, labels=ids).loss.item()
    figures = score(model, tokenizer, TEXT)
    assert figures["loss"] == pytest.approx(expected, rel=1e-6)
    assert figures["perplexity"] == pytest.approx(math.exp(expected), rel=1e-5)
    assert (figures["tokens"], figures["tokens_scored"]) == (ids.shape[1], ids.shape[1] - 1)


def test_a_text_longer_than_the_positions_is_read_in_windows(tokenizer: PreTrainedTokenizerFast) -> None:
    model = tiny_model(n_positions=16)
    figures = score(model, tokenizer, TEXT * 5)
    tokens = figures["tokens"]
    assert tokens > 32
    rest = max(0, tokens % 16 - 1)
    assert figures["tokens_scored"] == tokens // 16 * 15 + rest, "the first token of each window has no context"


def test_a_model_that_always_predicts_the_text_scores_far_better(tokenizer: PreTrainedTokenizerFast) -> None:
    (token_id,) = tokenizer.encode(" the")
    sure = score(insist_on(tiny_model(), token_id), tokenizer, " the" * 10)
    unsure = score(tiny_model(), tokenizer, " the" * 10)
    assert sure["loss"] < 0.01 < 5 < unsure["loss"]


@pytest.mark.parametrize("text", ["", "a", "\ud800 pandas"])
def test_a_text_that_cannot_be_scored_is_refused(
    text: str, model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    with pytest.raises(InputError):
        score(model, tokenizer, text)
