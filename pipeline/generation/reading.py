"""How a model reads a text: the probability of each token, and what it expected instead. Does not depend on torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MAX_READ_TOKENS = 2_048
"""Of one text. Reading them takes as long as writing a few."""
NUM_GUESSES = 5
MIN_WEIGHT = 0.01
"""Of the attention of a head to a token that is listed."""


@dataclass(frozen=True, kw_only=True)
class Guess:
    """A token that the model expected."""

    text: str
    probability: float


@dataclass(frozen=True, kw_only=True)
class ReadToken:
    """One token of the text."""

    text: str
    """Empty for a token that is the first part of a character; the one that completes it has the whole character."""
    loss: float | None
    """In nats; None for the first token, which nothing was expected before."""
    guesses: Sequence[Guess]
    """The likeliest tokens in its place, likeliest first."""

    @property
    def probability(self) -> float | None:
        return None if self.loss is None else math.exp(-self.loss)

    @property
    def is_newline(self) -> bool:
        return "\n" in self.text


@dataclass(frozen=True, kw_only=True)
class TokenReading:
    """All tokens of a text."""

    tokens: Sequence[ReadToken]
    num_given: int
    """How many of them are the prompt."""
    engine: str
    """What it was computed with."""

    @property
    def loss(self) -> float:
        """Mean of all tokens but the first, in nats; NaN for a text of one token."""
        losses = [token.loss for token in self.tokens if token.loss is not None]
        return sum(losses) / len(losses) if losses else math.nan

    @property
    def perplexity(self) -> float:
        return math.exp(min(self.loss, 700.0))

    @property
    def lines(self) -> list[list[ReadToken]]:
        """The tokens of each line. A token belongs to the line in which it begins."""
        lines: list[list[ReadToken]] = [[]]
        for token in self.tokens:
            lines[-1].append(token)
            if token.is_newline:
                lines.append([])
        return lines if lines[-1] else lines[:-1]

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> TokenReading:
        tokens = [
            ReadToken(text=text, loss=loss, guesses=[Guess(text=t, probability=p) for t, p in guesses])
            for text, loss, guesses in found["tokens"]
        ]
        return cls(tokens=tokens, num_given=found["num_given"], engine=found["engine"])

    def to_dict(self) -> dict[str, Any]:
        tokens = [[t.text, t.loss, [[guess.text, guess.probability] for guess in t.guesses]] for t in self.tokens]
        return {"tokens": tokens, "num_given": self.num_given, "engine": self.engine}


@dataclass(frozen=True, kw_only=True)
class LayerView:
    """One layer at the place before the chosen token."""

    guesses: Sequence[Guess]
    """What the model would expect if this layer were its last one (the logit lens)."""
    heads: Sequence[Sequence[tuple[int, float]]]
    """For each head the tokens that it attends to, by index, with their weights, most first; those under
    MIN_WEIGHT are left out.
    """


@dataclass(frozen=True, kw_only=True)
class Inside:
    """How one token came to be expected, layer by layer."""

    at: int
    """Index of the token."""
    texts: Sequence[str]
    """Of the tokens up to it."""
    layers: Sequence[LayerView]

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Inside:
        layers = [
            LayerView(
                guesses=[Guess(text=text, probability=p) for text, p in layer["guesses"]],
                heads=[[(at, weight) for at, weight in head] for head in layer["heads"]],
            )
            for layer in found["layers"]
        ]
        return cls(at=found["at"], texts=found["texts"], layers=layers)

    def to_dict(self) -> dict[str, Any]:
        layers = [
            {"guesses": [[guess.text, guess.probability] for guess in layer.guesses], "heads": layer.heads}
            for layer in self.layers
        ]
        return {"at": self.at, "texts": self.texts, "layers": layers}
