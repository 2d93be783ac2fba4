from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast

from pipeline.core.errors import InputError, PipelineError
from pipeline.generation.sampling import complete, encode
from pipeline.generation.settings import Sampling
from pipeline.generation.text_chunk import TextChunk
from tests.generation.models import END, insist_on, tiny_model

PROMPT = "import pandas as pd\n"
NOISE = Sampling(temperature=1.5, top_p=1, max_new_tokens=24)
"""Random enough that two seeds generate two different texts."""


def with_(sampling: Sampling, **changes: object) -> Sampling:
    return Sampling(**{**sampling.to_dict(), **changes})


def chunks_of(
    model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast, prompt: str, sampling: Sampling
) -> tuple[list[str], list[TextChunk]]:
    chunks: list[TextChunk] = []
    return complete(model, tokenizer, prompt, sampling, on_text=chunks.append), chunks


def test_a_seed_decides_the_text(model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast) -> None:
    first = complete(model, tokenizer, PROMPT, NOISE)
    assert complete(model, tokenizer, PROMPT, NOISE) == first
    assert complete(model, tokenizer, PROMPT, with_(NOISE, seed=1)) != first


def test_each_sample_is_the_same_however_many_are_asked_for(
    model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    four = complete(model, tokenizer, PROMPT, with_(NOISE, samples=4, seed=5))
    assert len(set(four)) == 4
    assert complete(model, tokenizer, PROMPT, with_(NOISE, samples=2, seed=5)) == four[:2]
    alone = [complete(model, tokenizer, PROMPT, with_(NOISE, seed=5 + k))[0] for k in range(4)]
    assert alone == four


def test_temperature_zero_takes_the_likeliest_token_whatever_the_seed(
    model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    texts = {complete(model, tokenizer, PROMPT, with_(NOISE, temperature=0, seed=seed))[0] for seed in range(3)}
    assert len(texts) == 1


def test_top_k_one_is_greedy_and_top_k_zero_is_not_the_librarys_fifty(
    model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    greedy = complete(model, tokenizer, PROMPT, with_(NOISE, temperature=0))
    assert complete(model, tokenizer, PROMPT, with_(NOISE, top_k=1)) == greedy
    assert complete(model, tokenizer, PROMPT, NOISE) != complete(model, tokenizer, PROMPT, with_(NOISE, top_k=50))


def test_only_the_new_text_is_returned(tokenizer: PreTrainedTokenizerFast) -> None:
    (a,) = encode(tokenizer, " the")
    model = insist_on(tiny_model(), a)
    assert complete(model, tokenizer, PROMPT, Sampling(max_new_tokens=3)) == [" the the the"]


def test_the_end_of_text_token_ends_a_sample_and_is_not_shown(tokenizer: PreTrainedTokenizerFast) -> None:
    model = insist_on(tiny_model(), tokenizer.eos_token_id)
    texts, chunks = chunks_of(model, tokenizer, PROMPT, Sampling(samples=2))
    assert texts == ["", ""]
    assert [(p.finish, p.tokens) for p in chunks if p.done] == [("end-of-text", 1), ("end-of-text", 1)]


def test_a_literal_end_of_text_in_the_prompt_is_plain_text(
    model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    prompt = f"print('{END}')"
    assert tokenizer.eos_token_id in tokenizer(prompt)["input_ids"]  # the control: the library's own default
    token_ids = encode(tokenizer, prompt)
    assert tokenizer.eos_token_id not in token_ids
    assert tokenizer.decode(token_ids) == prompt
    assert complete(model, tokenizer, prompt, NOISE)


@pytest.mark.parametrize("seed", range(8))
def test_the_chunks_joined_are_the_text_though_tokens_tear_characters(
    model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast, seed: int
) -> None:
    texts, chunks = chunks_of(model, tokenizer, PROMPT, with_(NOISE, seed=seed, max_new_tokens=40, samples=2))
    for sample, text in enumerate(texts):
        assert "".join(chunk.text for chunk in chunks if chunk.sample == sample) == text
    assert any("\N{REPLACEMENT CHARACTER}" in text for text in texts), "the model should have written broken characters"


def test_a_stop_ends_within_a_token(model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast) -> None:
    chunks: list[TextChunk] = []
    texts = complete(
        model,
        tokenizer,
        PROMPT,
        with_(NOISE, samples=3),
        on_text=chunks.append,
        should_stop=lambda: len(chunks) >= 5,
    )
    ends = [chunk for chunk in chunks if chunk.done]
    assert [(chunk.sample, chunk.finish, chunk.tokens) for chunk in ends] == [
        (0, "stopped", 2),  # the second token of each sample was being generated when the fifth chunk was sent
        (1, "stopped", 2),
        (2, "stopped", 2),
    ]
    for whole, text in zip(complete(model, tokenizer, PROMPT, with_(NOISE, samples=3)), texts, strict=True):
        assert whole.startswith(text.rstrip("\N{REPLACEMENT CHARACTER}"))


def test_the_last_chunk_says_how_much_was_written_and_why_it_ended(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    model = insist_on(tiny_model(), encode(tokenizer, "a")[0])
    _, chunks = chunks_of(model, tokenizer, PROMPT, Sampling(max_new_tokens=6))
    assert [chunk.tokens for chunk in chunks] == [1, 2, 3, 4, 5, 6, 6]
    assert [chunk.done for chunk in chunks] == [False] * 6 + [True]
    assert chunks[-1].finish == "length"
    assert chunks[-1].note == ""
    assert 0 < chunks[0].seconds <= chunks[-1].seconds


def test_a_prompt_that_leaves_no_room_is_refused(model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(InputError, match=r"prompt is 70 tokens long; shorten it to 63 or fewer.*reads 64"):
        complete(model, tokenizer, "(\n" * 35, NOISE)


def test_new_tokens_that_do_not_fit_are_cut_and_noted(
    model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    _, chunks = chunks_of(model, tokenizer, "(\n" * 30, NOISE)
    assert chunks[-1].tokens == 4
    assert chunks[-1].finish == "length"
    assert chunks[-1].note == ("Only 4 of 24 new tokens fit: this model reads 64 tokens, 60 of them are the prompt.")


def test_a_prompt_that_fills_all_but_one_position_gets_one_token(
    model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    _, chunks = chunks_of(model, tokenizer, "(\n" * 31 + "(", NOISE)
    assert chunks[-1].tokens == 1


def test_an_empty_prompt_is_refused_here_too(model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(InputError, match="prompt"):
        complete(model, tokenizer, "", NOISE)


@pytest.mark.parametrize("temperature", [0, 1])
def test_nan_logits_raise_a_pipeline_error(tokenizer: PreTrainedTokenizerFast, temperature: float) -> None:
    """The trainer may sample from such a model, and a failed sample must not end the run."""
    model = tiny_model()
    with torch.no_grad():
        model.transformer.ln_f.bias[0] = float("nan")
    with pytest.raises(PipelineError, match="predicts NaN"):
        complete(model, tokenizer, PROMPT, Sampling(temperature=temperature))


def test_random_states_and_modes_are_as_before(tokenizer: PreTrainedTokenizerFast) -> None:
    """The trainer completes prompts between two steps: training must stay bit-identical."""
    model = tiny_model()
    model.train()
    model.transformer.h[0].eval()  # a frozen module stays in evaluation mode
    before = (torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy())
    complete(model, tokenizer, PROMPT, with_(NOISE, samples=2))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert np.array_equal(np.random.get_state()[1], before[2])
    assert model.training and model.transformer.h[1].training and model.transformer.drop.training
    assert not model.transformer.h[0].training and not model.transformer.h[0].attn.training


def test_modes_and_random_states_are_restored_after_an_error_too(tokenizer: PreTrainedTokenizerFast) -> None:
    model = tiny_model().train()
    before = torch.get_rng_state()

    def fail(chunk: TextChunk) -> None:
        raise OSError("the pipe is gone")

    with pytest.raises(OSError, match="the pipe is gone"):
        complete(model, tokenizer, PROMPT, NOISE, on_text=fail)
    assert model.training
    assert torch.equal(torch.get_rng_state(), before)


def test_two_training_steps_are_bit_identical_with_a_completion_between_them(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    def train(between: bool) -> list[torch.Tensor]:
        torch.manual_seed(1)
        model = tiny_model().train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        ids = torch.randint(1, 512, (4, 32))
        for _ in range(2):
            model(ids, labels=ids).loss.backward()  # dropout draws random numbers
            optimizer.step()
            optimizer.zero_grad()
            if between:
                complete(model, tokenizer, PROMPT, NOISE)
        return [weight.detach().clone() for weight in model.parameters()]

    with torch.random.fork_rng(devices=[]):
        pairs = zip(train(False), train(True), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)
