"""How well a model predicts a text: the loss of each token, its mean, and the perplexity. Does not depend on processes or
revisions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from pipeline.core.errors import InputError, require
from pipeline.generation.batch import not_finite
from pipeline.generation.decoder import Decoder, KeyValueCache, Span
from pipeline.generation.reading import MAX_READ_TOKENS, MIN_WEIGHT, Guess, Inside, LayerView, ReadToken, TokenReading
from pipeline.generation.sampling import encode
from pipeline.generation.settings import check_text
from pipeline.generation.text_streamer import TextStreamer

BLOCK = 128
"""States whose logits are in memory at once: with GPT-2's vocabulary 26 MB."""


def score(decoder: Decoder, tokenizer: PreTrainedTokenizerBase, text: str) -> dict[str, Any]:
    """Mean loss, in nats per token, and perplexity of `text`, read in windows as long as the model's positions.

    The first token of each window has no context and is not scored. Raises InputError when the text is shorter than two
    tokens.
    """
    token_ids = encode(tokenizer, check_text("text", text))
    require(len(token_ids) >= 2, "text", text, "give at least two tokens of it")
    found = [
        loss
        for start in range(0, len(token_ids), decoder.positions)
        for loss in losses(decoder, token_ids[start : start + decoder.positions])
    ]
    mean = math.fsum(found) / len(found)
    return {
        "loss": mean,
        "perplexity": math.exp(min(mean, 700.0)),
        "tokens": len(token_ids),
        "tokens_scored": len(found),
    }


def losses(decoder: Decoder, token_ids: Sequence[int]) -> list[float]:
    """The loss of each token but the first, in nats. At most as many tokens as the model has positions."""
    return [loss for of_tokens, _ in _read(decoder, token_ids, num_guesses=1) for loss in of_tokens.tolist()]


def read(
    decoder: Decoder,
    tokenizer: PreTrainedTokenizerBase,
    prompt: str,
    written: Sequence[int],
    *,
    num_guesses: int,
    engine: str,
) -> TokenReading:
    """Each token of `prompt` and of the tokens `written` after it. Raises InputError when they are too many."""
    given = encode(tokenizer, prompt)
    token_ids = _checked(decoder, tokenizer, [*given, *written])
    tokens = [ReadToken(text=text, loss=None, guesses=()) for text in texts_of(tokenizer, token_ids)]
    at = 1
    for of_tokens, likeliest in _read(decoder, token_ids, num_guesses):
        guesses = _guesses(tokenizer, likeliest)
        for loss, found in zip(of_tokens.tolist(), guesses, strict=True):
            tokens[at] = ReadToken(text=tokens[at].text, loss=loss, guesses=found)
            at += 1
    return TokenReading(tokens=tokens, num_given=len(given), engine=engine)


def look_inside(
    decoder: Decoder,
    tokenizer: PreTrainedTokenizerBase,
    prompt: str,
    written: Sequence[int],
    *,
    at: int,
    num_guesses: int,
) -> Inside:
    """How the token of this index came to be expected, by the state of the token before it. Raises InputError when there
    is no such token, or none before it.
    """
    token_ids = _checked(decoder, tokenizer, [*encode(tokenizer, prompt), *written])
    require(1 <= at < len(token_ids), "at", at, f"choose a token, 1 to {len(token_ids) - 1}")
    cache = KeyValueCache(decoder, at)
    states = [rows[at - 1].clone() for rows in decoder.states([Span(cache, token_ids[:at])])]
    chances = decoder.expected(torch.stack(states[1:])).log_softmax(dim=-1)
    if not chances.isfinite().all():
        raise not_finite()
    lens = chances.topk(min(num_guesses, chances.shape[1]))
    layers = []
    for index, guesses in enumerate(_guesses(tokenizer, lens)):
        weights = decoder.attention(index, states[index], cache, at - 1).cpu()
        layers.append(LayerView(guesses=guesses, heads=[_attended(head) for head in weights]))
    return Inside(at=at, texts=texts_of(tokenizer, token_ids)[: at + 1], layers=layers)


def texts_of(tokenizer: PreTrainedTokenizerBase, token_ids: Sequence[int]) -> list[str]:
    """The text of each token. A character of several tokens is that of the last one."""
    chunks: list[str] = []
    streamer = TextStreamer(tokenizer, 0, lambda chunk: chunks.append(chunk.text))
    for token_id in token_ids:
        streamer.put(token_id)
    streamer.finish("length")
    rest = chunks.pop()
    return [*chunks[:-1], chunks[-1] + rest] if chunks else []


def _read(decoder: Decoder, token_ids: Sequence[int], num_guesses: int) -> Iterator[tuple[Tensor, Any]]:
    """The losses of all tokens but the first, float32[tokens], and the likeliest tokens in their places with their
    logarithmic probabilities, [tokens, num_guesses], a block of tokens after the other.
    """
    if len(token_ids) < 2:
        return
    with torch.inference_mode():
        for rows in decoder.states([Span(KeyValueCache(decoder, len(token_ids)), token_ids)]):
            last = rows
        came = torch.tensor(token_ids[1:], device=last.device)
        for start in range(0, len(token_ids) - 1, BLOCK):
            of_block = came[start : start + BLOCK]
            chances = decoder.expected(last[start : start + len(of_block)]).log_softmax(dim=-1)
            if not chances.isfinite().all():
                raise not_finite()
            of_tokens = -chances.gather(1, of_block[:, None])[:, 0]
            yield of_tokens.cpu(), chances.topk(min(num_guesses, chances.shape[1]))


def _checked(decoder: Decoder, tokenizer: PreTrainedTokenizerBase, token_ids: list[int]) -> list[int]:
    limit = min(MAX_READ_TOKENS, decoder.positions)
    if len(token_ids) > limit:
        raise InputError(f"The text is {len(token_ids):,} tokens long; {limit:,} of this model are read at most.")
    if not all(0 <= token_id < len(tokenizer) for token_id in token_ids):
        raise InputError("The text has tokens that this revision does not know; complete the prompt with it first.")
    return token_ids


def _guesses(tokenizer: PreTrainedTokenizerBase, likeliest: Any) -> list[list[Guess]]:
    """`likeliest`: logarithmic probabilities and token ids, [rows, guesses]."""
    return [
        [
            Guess(text=str(tokenizer.decode([token_id])), probability=chance)
            for chance, token_id in zip(chances, token_ids, strict=True)
        ]
        for chances, token_ids in zip(likeliest.values.exp().tolist(), likeliest.indices.tolist(), strict=True)
    ]


def _attended(weights: Tensor) -> list[tuple[int, float]]:
    found, order = weights.sort(descending=True)
    number = int((found >= MIN_WEIGHT).sum())
    return list(zip(order[:number].tolist(), found[:number].tolist(), strict=True))
