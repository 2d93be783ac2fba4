"""The score of a text, compared with the loss of transformers and a manual count of tokens."""

from __future__ import annotations

import math

import pytest
import torch
from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast

from pipeline.core.errors import InputError
from pipeline.generation.decoder import exact
from pipeline.generation.reading import MIN_WEIGHT
from pipeline.generation.scoring import BLOCK, look_inside, read, score, texts_of
from tests.generation.models import insist_on, tiny_model

PROMPT = "import pandas as pd\n"
TEXT = "import pandas as pd\n\ndef load(path):\n    return pd.read_csv(path)\n"


def test_a_short_texts_loss_is_the_librarys(model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast) -> None:
    ids = torch.tensor([tokenizer.encode(TEXT)])
    assert ids.shape[1] <= model.config.n_positions
    with torch.no_grad():
        expected = model(ids, labels=ids).loss.item()
    figures = score(exact(model), tokenizer, TEXT)
    assert figures["loss"] == pytest.approx(expected, rel=1e-6)
    assert figures["perplexity"] == pytest.approx(math.exp(expected), rel=1e-5)
    assert (figures["tokens"], figures["tokens_scored"]) == (ids.shape[1], ids.shape[1] - 1)


def test_a_text_longer_than_the_positions_is_read_in_windows(tokenizer: PreTrainedTokenizerFast) -> None:
    model = tiny_model(n_positions=16)
    figures = score(exact(model), tokenizer, TEXT * 5)
    tokens = figures["tokens"]
    assert tokens > 32
    rest = max(0, tokens % 16 - 1)
    assert figures["tokens_scored"] == tokens // 16 * 15 + rest, "the first token of each window has no context"


def test_a_model_that_always_predicts_the_text_scores_far_better(tokenizer: PreTrainedTokenizerFast) -> None:
    (token_id,) = tokenizer.encode(" the")
    sure = score(exact(insist_on(tiny_model(), token_id)), tokenizer, " the" * 10)
    unsure = score(exact(tiny_model()), tokenizer, " the" * 10)
    assert sure["loss"] < 0.01 < 5 < unsure["loss"]


@pytest.mark.parametrize("text", ["", "a", "\ud800 pandas"])
def test_a_text_that_cannot_be_scored_is_refused(
    text: str, model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    with pytest.raises(InputError):
        score(exact(model), tokenizer, text)


def test_every_tokens_loss_and_guesses_are_those_of_the_librarys_logits(
    model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    given, written = tokenizer.encode(PROMPT), [5, 400, 17]
    with torch.no_grad():
        chances = model(torch.tensor([[*given, *written]])).logits[0].log_softmax(dim=-1)
    reading = read(exact(model), tokenizer, PROMPT, written, num_guesses=3, engine="float32")
    assert (reading.num_given, len(reading.tokens)) == (len(given), len(given) + 3)
    assert reading.tokens[0].loss is None and not reading.tokens[0].guesses
    for at, token_id in enumerate([*given, *written][1:], start=1):
        assert reading.tokens[at].loss == pytest.approx(-chances[at - 1, token_id].item(), abs=1e-4)
        likeliest = chances[at - 1].topk(3)
        assert [guess.text for guess in reading.tokens[at].guesses] == [
            tokenizer.decode([i]) for i in likeliest.indices
        ]
        assert [guess.probability for guess in reading.tokens[at].guesses] == pytest.approx(
            likeliest.values.exp().tolist(), rel=1e-3
        )
    assert reading.loss == pytest.approx(
        -chances[:-1].gather(1, torch.tensor([[*given, *written][1:]]).T).mean().item()
    )


def test_a_long_reading_is_the_same_in_several_blocks(tokenizer: PreTrainedTokenizerFast) -> None:
    decoder = exact(tiny_model(n_positions=512))
    whole = read(decoder, tokenizer, TEXT * 8, [], num_guesses=1, engine="")
    assert len(whole.tokens) > 2 * BLOCK
    figures = score(decoder, tokenizer, TEXT * 8)
    assert whole.loss == pytest.approx(figures["loss"])
    assert len(whole.tokens) - 1 == figures["tokens_scored"]


def test_the_texts_of_tokens_join_to_the_text_and_no_character_is_split(tokenizer: PreTrainedTokenizerFast) -> None:
    text = "x = 'héé€😀'\n"
    token_ids = tokenizer.encode(text)
    texts = texts_of(tokenizer, token_ids)
    assert len(texts) == len(token_ids) and "".join(texts) == text
    assert "" in texts and "\N{REPLACEMENT CHARACTER}" not in "".join(texts)


def test_attention_and_the_logit_lens_are_those_of_the_library(tokenizer: PreTrainedTokenizerFast) -> None:
    model = tiny_model()
    eager = GPT2LMHeadModel(model.config)
    eager.load_state_dict(model.state_dict())
    eager.set_attn_implementation("eager")
    token_ids = tokenizer.encode(PROMPT)
    at = len(token_ids) - 2
    with torch.no_grad():
        expected = eager.eval()(torch.tensor([token_ids[:at]]), output_attentions=True, output_hidden_states=True)
    inside = look_inside(exact(model), tokenizer, PROMPT, [], at=at, num_guesses=2)
    assert (inside.at, len(inside.layers)) == (at, 2)
    assert inside.texts == texts_of(tokenizer, token_ids)[: at + 1]
    for layer, attentions in zip(inside.layers, expected.attentions, strict=True):
        for head, weights in zip(layer.heads, attentions[0, :, -1], strict=True):
            assert dict(head) == pytest.approx(
                {i: w for i, w in enumerate(weights.tolist()) if w >= MIN_WEIGHT}, abs=1e-5
            )
            assert [weight for _, weight in head] == sorted((weight for _, weight in head), reverse=True)
    first = eager.lm_head(eager.transformer.ln_f(expected.hidden_states[1][0, -1])).softmax(dim=-1).topk(2)
    last = expected.logits[0, -1].softmax(dim=-1).topk(2)
    for layer, likeliest in zip(inside.layers, (first, last), strict=True):
        assert [guess.text for guess in layer.guesses] == [tokenizer.decode([i]) for i in likeliest.indices]
        assert [guess.probability for guess in layer.guesses] == pytest.approx(likeliest.values.tolist(), rel=1e-3)


def test_what_cannot_be_read_is_refused_with_the_reason(
    model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    decoder = exact(model)
    with pytest.raises(InputError, match=r"^The text is 65 tokens long; 64 of this model are read at most"):
        read(decoder, tokenizer, " the", [5] * 64, num_guesses=1, engine="")
    with pytest.raises(InputError, match="tokens that this revision does not know"):
        read(decoder, tokenizer, " the", [512], num_guesses=1, engine="")
    for at in (0, 2, -1):
        with pytest.raises(InputError, match=rf"^at is {at}"):
            look_inside(decoder, tokenizer, " the", [5], at=at, num_guesses=1)


def test_one_token_is_read_without_a_loss(model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast) -> None:
    reading = read(exact(model), tokenizer, " the", [], num_guesses=1, engine="")
    assert [token.loss for token in reading.tokens] == [None] and math.isnan(reading.loss)
