from __future__ import annotations

import math

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from pipeline.config.schema import ModelConfig
from pipeline.training.loss import KeyToken, KeyTokens, NextTokenLoss, token_losses
from pipeline.training.model import build_model

NO_KEYS = KeyTokens([])


def tokenizer_with(*merges: str) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer with only these merges, each written `left right`; `Ġ` stands for a space."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pairs = [(left, right) for left, right in map(str.split, merges)]
    vocabulary = {token: number for number, token in enumerate([*alphabet, *map("".join, pairs)])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=pairs))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def reference(logits: torch.Tensor, input_ids: torch.Tensor) -> list[list[float]]:
    """Cross-entropy of each next token, in plain Python."""
    result = []
    for row, ids in zip(logits.tolist(), input_ids.tolist(), strict=True):
        result.append([math.log(sum(map(math.exp, at))) - at[target] for at, target in zip(row, ids[1:], strict=False)])
    return result


def test_each_position_predicts_the_next_token() -> None:
    config = ModelConfig(n_layer=1, n_embd=16, n_head=2, n_positions=8, window=7, vocab_size=50, zero_projections=False)
    model = build_model(config, eos_id=0, seed=0).eval()
    torch.manual_seed(0)
    input_ids = torch.randint(0, 50, (3, 7))
    with torch.no_grad():
        losses, logits = NextTokenLoss(model)(input_ids), model(input_ids).logits
    assert losses.shape == (3, 6)
    assert torch.allclose(losses, torch.tensor(reference(logits, input_ids)), atol=1e-5)


def test_uniform_logits_have_the_loss_log_of_the_vocabulary_size() -> None:
    losses = token_losses(torch.zeros(2, 4, 40), torch.randint(0, 40, (2, 4)))
    assert torch.allclose(losses, torch.full((2, 4), math.log(40)))


def test_end_of_text_is_learned_like_any_token() -> None:
    eos_id = 0
    logits = torch.zeros(1, 2, 4, requires_grad=True)
    token_losses(logits, torch.tensor([[eos_id, 3]]))[0, 0].backward()
    assert logits.grad is not None and logits.grad[0, 0, eos_id] < 0


def test_losses_of_half_precision_logits_are_float32() -> None:
    assert token_losses(torch.randn(1, 4, 9).bfloat16(), torch.tensor([[1, 2, 3, 4]])).dtype == torch.float32


def test_a_window_weighs_alpha_times_one_plus_its_key_tokens() -> None:
    keys = KeyTokens([KeyToken("plt", (5,)), KeyToken("pd", (7,)), KeyToken(" fit", (7,)), KeyToken("sk", (1, 2))])
    windows = torch.tensor([[5, 5, 7, 0], [1, 2, 3, 4], [9, 9, 9, 7]])
    assert keys.window_weights(windows, alpha=0.5).tolist() == [0.5 * 4, 0.5 * 1, 0.5 * 2]


def test_without_a_key_token_every_window_weighs_the_same() -> None:
    assert NO_KEYS.window_weights(torch.randint(0, 9, (4, 6)), alpha=1.0).tolist() == [1.0] * 4
    assert "every window weighs the same" in str(NO_KEYS)


def test_each_word_is_looked_up_with_and_without_a_leading_space() -> None:
    keys = KeyTokens.find(tokenizer_with("p l", "pl t", "Ġ plt", "Ġ f", "Ġf i", "Ġfi t"), ["plt", "fit"])
    assert {token.text: token.counts for token in keys.tokens} == {
        "plt": True,
        " plt": True,
        "fit": False,
        " fit": True,
        "testtest": False,
    }
    assert len(keys.ids) == 3


def test_the_control_is_reported_and_never_counted() -> None:
    keys = KeyTokens.find(tokenizer_with("t e", "s t", "te st", "test test"), [])
    assert keys.ids == []
    assert str(keys.tokens[-1]) == "'testtest' is 1 token: not counted (control)"


def test_the_report_says_which_words_are_single_tokens() -> None:
    keys = KeyTokens([KeyToken("plt", (2345,)), KeyToken("sk", (1, 2)), KeyToken("testtest", (8, 8), is_control=True)])
    assert str(keys) == (
        "key tokens: 'plt' single token 2345; 'sk' is 2 tokens: not counted; "
        "'testtest' is 2 tokens: not counted (control)"
    )
    assert keys.to_list()[1] == {"text": "sk", "ids": [1, 2], "counted": False, "control": False}


@pytest.mark.parametrize("alpha", [1.0, 0.25])
def test_alpha_scales_every_weight(alpha: float) -> None:
    assert NO_KEYS.window_weights(torch.zeros(2, 3, dtype=torch.int64), alpha).tolist() == [alpha] * 2
