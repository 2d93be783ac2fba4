"""Chooses the next token of each text from its logits."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.generation.settings import Sampling

CANDIDATES = 256
"""Likeliest tokens that are sorted. Where these are not enough for `top_p` or `top_k`, all tokens are."""


class Choice:
    """How one text goes on: its settings and its own random numbers, which no other text draws from."""

    def __init__(self, sampling: Sampling, sample: int) -> None:
        self.sampling = sampling
        self.random = torch.Generator().manual_seed(sampling.seed + sample)


@torch.inference_mode()
def choose(logits: Tensor, choices: Sequence[Choice]) -> list[int]:
    """The next token of each text. `logits`: float32[texts, vocabulary], all finite.

    In the order of transformers: the temperature, then the `top_k` likeliest, then as many of these as have the
    probability `top_p`.
    """
    greedy: list[int] = logits.argmax(dim=1).tolist()
    drawn = [row for row, choice in enumerate(choices) if choice.sampling.temperature]
    if not drawn:
        return greedy
    temperatures = torch.tensor([choices[row].sampling.temperature for row in drawn], device=logits.device)
    scaled = logits[torch.tensor(drawn, device=logits.device)] / temperatures[:, None]
    values, tokens = scaled.topk(min(CANDIDATES, scaled.shape[1]), dim=1)
    probabilities = (values - scaled.logsumexp(dim=1, keepdim=True)).exp()
    likeliest = zip(probabilities.cpu().double(), tokens.cpu(), strict=True)
    for row, of_row, (found, of_tokens) in zip(drawn, scaled, likeliest, strict=True):
        greedy[row] = _drawn(choices[row], found, of_tokens, of_row)
    return greedy


def _drawn(choice: Choice, probabilities: Tensor, tokens: Tensor, scaled: Tensor) -> int:
    """`probabilities` and `tokens` of the likeliest tokens, likeliest first; `scaled`: the logits of all."""
    top_k, top_p = choice.sampling.top_k, choice.sampling.top_p
    num_found, num_all = len(tokens), len(scaled)
    if top_k > num_found or (not top_k and num_found < num_all and probabilities.sum() < top_p):
        probabilities, tokens = scaled.cpu().double().softmax(dim=0).sort(descending=True, stable=True)
    if top_k:
        probabilities, tokens = probabilities[:top_k], tokens[:top_k]
        probabilities = probabilities / probabilities.sum()
    sums = probabilities.cumsum(dim=0)
    num_kept = int((sums - probabilities < top_p).sum()) if top_p < 1 else len(sums)
    chance = torch.rand((), generator=choice.random, dtype=torch.float64) * sums[num_kept - 1]
    return int(tokens[min(int(torch.searchsorted(sums, chance, right=True)), num_kept - 1)])
