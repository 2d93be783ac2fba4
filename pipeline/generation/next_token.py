"""Chooses the next token of each text from its logits."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.generation.settings import Sampling

CANDIDATES = (256, 4_096)
"""How many of the likeliest tokens are sorted at first, and then where these are not enough for `top_p`; then all are."""
BLOCK = 256
"""Sums of this many chances are added up: in another order for another number of texts, the last digits would differ."""


class Sampler:
    """How the tokens of one text are drawn: its settings and its own random numbers, which no other text draws from."""

    def __init__(self, sampling: Sampling, sample: int) -> None:
        self.sampling = sampling
        self.random = torch.Generator().manual_seed(sampling.seed + sample)


@torch.inference_mode()
def choose(logits: Tensor, samplers: Sequence[Sampler]) -> list[int]:
    """The next token of each text. `logits`: float32[texts, vocabulary], all finite.

    In the order of transformers: the temperature, then the `top_k` likeliest, then as many of these as have the
    probability `top_p`.
    """
    chosen: list[int] = logits.argmax(dim=1).tolist()
    drawn = [row for row, sampler in enumerate(samplers) if sampler.sampling.temperature]
    if not drawn:
        return chosen
    temperatures = torch.tensor([samplers[row].sampling.temperature for row in drawn], device=logits.device)
    scaled = logits[torch.tensor(drawn, device=logits.device)] / temperatures[:, None]
    chances = (scaled - scaled.amax(dim=1, keepdim=True)).exp()
    blocks = functional.pad(chances, (0, -chances.shape[1] % BLOCK)).view(len(drawn), -1, BLOCK)
    totals = blocks.sum(dim=2).double().sum(dim=1).tolist()
    values, tokens = chances.topk(min(CANDIDATES[0], chances.shape[1]), dim=1)
    likeliest = zip(values.cpu().double(), tokens.cpu(), strict=True)
    for row, of_row, total, found in zip(drawn, chances, totals, likeliest, strict=True):
        chosen[row] = _drawn(samplers[row], of_row, total, *found)
    return chosen


def _drawn(sampler: Sampler, chances: Tensor, total: float, likeliest: Tensor, tokens: Tensor) -> int:
    """`chances` of all tokens, which have this total; those of the `likeliest` `tokens`, likeliest first."""
    top_k, top_p = sampler.sampling.top_k, sampler.sampling.top_p
    if not top_k and top_p == 1:
        likeliest, tokens = chances.cpu().double(), torch.arange(len(chances))
    elif top_k:
        if top_k > len(tokens):
            likeliest, tokens = _likeliest(chances, top_k)
        likeliest, tokens = likeliest[:top_k], tokens[:top_k]
        total = float(likeliest.sum())
    else:
        for number in (*CANDIDATES[1:], len(chances)):
            if len(tokens) == len(chances) or likeliest.sum() >= top_p * total:
                break
            likeliest, tokens = _likeliest(chances, number)
    sums = likeliest.cumsum(dim=0)
    num_kept = int((sums - likeliest < top_p * total).sum()) if top_p < 1 else len(sums)
    point = torch.rand((), generator=sampler.random, dtype=torch.float64) * sums[num_kept - 1]
    return int(tokens[min(int(torch.searchsorted(sums, point, right=True)), num_kept - 1)])


def _likeliest(chances: Tensor, number: int) -> tuple[Tensor, Tensor]:
    values, tokens = chances.topk(min(number, len(chances)))
    return values.cpu().double(), tokens.cpu()
