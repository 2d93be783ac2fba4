"""A text is the same alone and in company, and is what transformers writes."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from pipeline.generation import batch, linear
from pipeline.generation.batch import Text, step
from pipeline.generation.decoder import Decoder, KeyValueCache, Span, as_it_is, exact, for_writing
from pipeline.generation.sampling import begin, encode
from pipeline.generation.settings import Sampling
from tests.generation.models import tiny_model

Make = Callable[[GPT2LMHeadModel], Decoder]
PROMPT = "import pandas as pd\n\ndf = "


def int8(model: GPT2LMHeadModel) -> Decoder:
    return Decoder(model, linear.PackedInt8, "int8")


DECODERS = pytest.mark.parametrize("make", [exact, int8])


def shaped(**changes: Any) -> GPT2LMHeadModel:
    shape = {"n_layer": 3, "n_embd": 48, "n_head": 3, "n_positions": 200, "vocab_size": 512, **changes}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = GPT2LMHeadModel(GPT2Config(**shape, bos_token_id=0, eos_token_id=0)).eval()
        with torch.no_grad():
            for weight in model.parameters():  # as they come, the logits are so close together that nothing is likely
                weight.add_(0.1 * torch.randn_like(weight))
    return model


SHAPES: dict[str, dict[str, Any]] = {
    "usual": {},
    "no scale": {"scale_attn_weights": False},
    "a scale for each layer": {"scale_attn_by_inverse_layer_idx": True},
    "upcast": {"reorder_and_upcast_attn": True},
    "untied": {"tie_word_embeddings": False},
    "wide": {"n_inner": 100},
    "epsilon": {"layer_norm_epsilon": 0.1},
    **{name: {"activation_function": name} for name in ("gelu", "gelu_fast", "relu", "silu", "tanh")},
}


@pytest.mark.parametrize("name", SHAPES)
def test_the_text_is_that_of_transformers(name: str, tokenizer: PreTrainedTokenizerFast) -> None:
    model = shaped(**SHAPES[name])
    ids = torch.tensor([encode(tokenizer, PROMPT)])
    expected = model.generate(ids, max_new_tokens=60, do_sample=False, pad_token_id=0, eos_token_id=0)[
        0, ids.shape[1] :
    ]
    (text,) = begin(exact(model), tokenizer, PROMPT, Sampling(temperature=0, max_new_tokens=60))
    written(exact(model), tokenizer, [text])
    assert text.streamer.token_ids == expected.tolist()

    def last(decoder: Decoder) -> torch.Tensor:
        return decoder.logits([Span(KeyValueCache(decoder, 100), ids[0].tolist())])[0]

    with torch.inference_mode():
        reference = model(ids).logits[0, -1]
    assert torch.allclose(last(exact(model)), reference, rtol=1e-3, atol=1e-4)
    if name not in ("usual", "upcast", "gelu", "gelu_fast"):  # two approximations of one function
        assert not torch.allclose(last(exact(shaped())), reference, rtol=1e-2, atol=1e-2), (
            "control: the setting matters"
        )


def written(decoder: Decoder, tokenizer: PreTrainedTokenizerFast, texts: list[Text]) -> list[list[int]]:
    while unfinished := [text for text in texts if not text.is_done]:
        step(decoder, tokenizer, unfinished)
    return [text.streamer.token_ids for text in texts]


@DECODERS
@pytest.mark.parametrize("num_threads", [1, 2, 5])
def test_a_text_is_the_same_alone_and_in_company(
    make: Make, num_threads: int, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Texts of other lengths join and leave at random, some with prompts that are read in parts."""
    monkeypatch.setattr(batch, "PREFILL_TOKENS", 16)
    decoder, chance = make(shaped()), random.Random(0)
    asked = [
        (
            PROMPT * chance.randint(1, 6),
            Sampling(seed=seed, temperature=1.2, top_p=1, max_new_tokens=chance.randint(1, 40)),
        )
        for seed in range(24)
    ]

    def begun(number: int) -> Text:
        return begin(decoder, tokenizer, *asked[number])[0]

    alone = [written(decoder, tokenizer, [begun(number)])[0] for number in range(len(asked))]
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        texts: list[Text] = []
        while len(texts) < len(asked) or not all(text.is_done for text in texts):
            if len(texts) < len(asked) and chance.random() < 0.5:
                texts.append(begun(len(texts)))
            if open_texts := [text for text in texts if not text.is_done]:
                step(decoder, tokenizer, chance.sample(open_texts, min(len(open_texts), chance.randint(1, 9))))
    finally:
        torch.set_num_threads(before)
    assert [text.streamer.token_ids for text in texts] == alone
    assert len({tuple(tokens) for tokens in alone}) > 20


def test_control_the_usual_linear_gives_a_text_other_logits_in_company() -> None:
    model = shaped(n_embd=768, n_head=12)

    def last(decoder: Decoder, company: int) -> torch.Tensor:
        spans = [Span(KeyValueCache(decoder, 64), range(1, 40)) for _ in range(company)]
        decoder.logits(spans)
        return decoder.logits([Span(span.cache, [7]) for span in spans])[0]

    for decoder, is_same in ((as_it_is(model), False), (exact(model), True), (int8(model), True)):
        assert torch.equal(last(decoder, 1), last(decoder, 5)) == is_same


@DECODERS
def test_a_prompt_that_is_read_in_parts_gives_the_logits_of_one_that_is_read_at_once(make: Make) -> None:
    decoder, tokens = make(shaped()), list(range(1, 150))
    whole = decoder.logits([Span(KeyValueCache(decoder, 200), tokens)])
    cache = KeyValueCache(decoder, 200)
    for start in range(0, len(tokens), 40):
        parts = decoder.logits([Span(cache, tokens[start : start + 40])])
    assert cache.length == len(tokens)
    assert (whole - parts).abs().max() < 0.02 * whole.abs().max()


def test_int8_is_close_to_float32() -> None:
    model = tiny_model(n_positions=200)
    ids = torch.randint(1, 512, (1, 100), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = model(ids).logits[0, -1]
    found = int8(model).logits([Span(KeyValueCache(int8(model), 200), ids[0].tolist())])[0]
    assert 0 < (found - expected).abs().max() < 0.05 * expected.abs().max()


def test_a_small_model_is_exact_on_one_core_and_a_large_one_is_int8_where_that_is_fast(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert for_writing(tiny_model()).engine(2) == "float32 on 1 core"
    monkeypatch.setattr("pipeline.generation.decoder.LARGE", 1_000)
    monkeypatch.setattr(linear, "has_int8", lambda: True)
    assert for_writing(tiny_model()).engine(2) == "int8 on 2 cores"
    monkeypatch.setattr(linear, "has_int8", lambda: False)
    assert for_writing(tiny_model()).engine(1) == "float32 on 1 core"


def test_a_prompt_is_read_once_for_all_its_samples(tokenizer: PreTrainedTokenizerFast) -> None:
    decoder, length = exact(shaped()), len(encode(tokenizer, PROMPT))
    sampling = Sampling(samples=4, temperature=1.5, top_p=1, max_new_tokens=20)
    texts = begin(decoder, tokenizer, PROMPT, sampling)
    assert step(decoder, tokenizer, texts).num_read == (length, 0, 0, 0)
    assert [len(text.streamer.token_ids) for text in texts] == [1, 1, 1, 1]
    assert step(decoder, tokenizer, texts).num_read == (1, 1, 1, 1)
    together = written(decoder, tokenizer, texts)
    alone = [
        written(decoder, tokenizer, begin(decoder, tokenizer, PROMPT, Sampling(**{**sampling.to_dict(), **own})))[0]
        for own in ({"samples": 1, "seed": seed} for seed in range(4))
    ]
    assert together == alone


def test_long_prompts_are_read_in_turn_while_others_are_written(
    tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "PREFILL_TOKENS", 8)
    decoder, sampling = exact(shaped()), Sampling(temperature=0, max_new_tokens=60)
    (writing,) = begin(decoder, tokenizer, "x", sampling)
    step(decoder, tokenizer, [writing])
    long = [begin(decoder, tokenizer, PROMPT + "x = 1\n" * number, sampling)[0] for number in (1, 2, 3)]
    num_steps = 0
    while not all(text.is_begun for text in long):
        done = step(decoder, tokenizer, [*long, writing])
        assert done.num_read[3] == 1, "the other text goes on"
        assert sum(done.num_read) <= 8 + len([text for text in long if text.is_begun]) + 1
        num_steps += 1
    assert num_steps > 6
    assert [text.is_begun for text in long] == [True] * 3


def test_a_sample_that_ends_before_it_has_begun_frees_the_prompt(tokenizer: PreTrainedTokenizerFast) -> None:
    decoder = exact(shaped())
    texts = begin(decoder, tokenizer, PROMPT, Sampling(samples=2, max_new_tokens=4))
    texts[0].finish("stopped")
    written(decoder, tokenizer, texts)
    assert texts[1].prompt._cache is None and len(texts[1].streamer.token_ids) == 4
