from __future__ import annotations

import random

import torch
from transformers.generation.logits_process import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from pipeline.generation.next_token import Sampler, choose
from pipeline.generation.settings import Sampling

VOCABULARY = 1_000
"""More than are sorted at first."""


def reference(logits: torch.Tensor, sampler: Sampler) -> int:
    """The token by the classes of transformers, drawn with the same random number."""
    sampling, scores = sampler.sampling, logits[None].double()
    ids = torch.zeros(1, 1, dtype=torch.long)
    scores = TemperatureLogitsWarper(sampling.temperature)(ids, scores)
    if sampling.top_k:
        scores = TopKLogitsWarper(sampling.top_k)(ids, scores)
    if sampling.top_p < 1:
        scores = TopPLogitsWarper(sampling.top_p)(ids, scores)
    chances, tokens = scores[0].softmax(dim=0), torch.arange(VOCABULARY)
    if sampling.top_k or sampling.top_p < 1:  # without either, nothing needs to be sorted
        chances, tokens = chances.sort(descending=True, stable=True)
    chance = torch.rand((), generator=sampler.random, dtype=torch.float64)
    return int(tokens[int(torch.searchsorted(chances.cumsum(dim=0), chance, right=True))])


def test_the_tokens_are_those_of_transformers_with_the_same_random_numbers() -> None:
    chance = random.Random(0)
    settings = [
        Sampling(
            temperature=chance.choice([0.3, 1.0, 3.0]),
            top_k=chance.choice([0, 0, 1, 20, 256, 257, 600, 5_000]),
            top_p=chance.choice([0.1, 0.5, 0.95, 0.9999, 1]),
            seed=seed,
        )
        for seed in range(300)
    ]
    logits = 3 * torch.randn(len(settings), VOCABULARY, generator=torch.Generator().manual_seed(0))
    found = choose(logits, [Sampler(sampling, 0) for sampling in settings])
    expected = [reference(row, Sampler(sampling, 0)) for row, sampling in zip(logits, settings, strict=True)]
    assert found == expected
    assert len(set(found)) > 100


def test_a_text_draws_the_same_alone_and_beside_greedy_and_other_ones() -> None:
    logits = torch.randn(4, VOCABULARY, generator=torch.Generator().manual_seed(1))
    settings = [Sampling(temperature=t, seed=7, top_p=1) for t in (0.8, 0, 2.0, 0)]
    together = choose(logits, [Sampler(sampling, 0) for sampling in settings])
    alone = [choose(row[None], [Sampler(s, 0)])[0] for row, s in zip(logits, settings, strict=True)]
    assert together == alone
    assert [together[1], together[3]] == logits[[1, 3]].argmax(dim=1).tolist()


def test_of_equal_logits_greedy_takes_the_first() -> None:
    assert choose(torch.zeros(1, VOCABULARY), [Sampler(Sampling(temperature=0), 0)]) == [0]


def test_no_random_number_is_taken_from_anybody_else() -> None:
    before = torch.get_rng_state()
    choose(torch.randn(1, VOCABULARY, generator=torch.Generator()), [Sampler(Sampling(), 0)])
    assert torch.equal(torch.get_rng_state(), before)
