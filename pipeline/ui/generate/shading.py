"""Shades the tokens of a reading by their probabilities, and compares two readings of one text. Does not depend on Gradio."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.generation.reading import ReadToken, TokenReading
from pipeline.ui.shared import formats

SHADES = (0.8, 0.5, 0.2)
"""Probabilities below which a token has the next darker shade."""
CLEAR_DIFFERENCE = 0.5
"""In nats, from which on one revision counts as better at a token: it was 1.6 times as likely."""


@dataclass(frozen=True, kw_only=True)
class ShadedToken:
    """A token as the page shows it."""

    index: int
    token: ReadToken
    other: ReadToken | None
    """The same token as the other revision reads it; None where there is none, or where its tokens are others."""
    is_given: bool
    is_past: bool
    """Whether it is past the window that the model was trained on."""

    @property
    def shown(self) -> str:
        return formats.visible(self.token.text)

    @property
    def shade(self) -> int:
        """0 for sure or unknown, 3 for least sure."""
        if (probability := self.token.probability) is None:
            return 0
        return sum(probability < limit for limit in SHADES)

    @property
    def difference(self) -> float | None:
        """How much more the revision lost than the other one, in nats."""
        if self.other is None or self.token.loss is None or self.other.loss is None:
            return None
        return self.token.loss - self.other.loss

    @property
    def comparison(self) -> str:
        """worse, better, or "" for about equal or unknown."""
        if self.difference is None or abs(self.difference) < CLEAR_DIFFERENCE:
            return ""
        return "worse" if self.difference > 0 else "better"

    @property
    def guesses(self) -> str:
        """JSON: the likeliest tokens with their probabilities as text."""
        pairs = [[guess.text, formats.chance(guess.probability)] for guess in self.token.guesses]
        return json.dumps(pairs, ensure_ascii=False)

    @property
    def chance(self) -> str:
        return formats.chance(self.token.probability)

    @property
    def others_chance(self) -> str:
        return formats.chance(self.other.probability if self.other else None)


@dataclass(frozen=True, kw_only=True)
class ShadedLine:
    tokens: list[ShadedToken]
    loss: float | None
    """Sum of its tokens, in nats; None when nothing was expected before any of them."""
    difference: float | None
    """How much more the revision lost on this line than the other one, in nats. Comparable whatever their tokens; None
    where the tokens of the two do not end with the same lines.
    """


def shaded(reading: TokenReading, *, window: int | None = None, other: TokenReading | None = None) -> list[ShadedLine]:
    """The lines of `reading`, beside those of `other`, a reading of the same text."""
    has_same_tokens = other is not None and [t.text for t in other.tokens] == [t.text for t in reading.tokens]
    others = other.tokens if other is not None and has_same_tokens else [None] * len(reading.tokens)
    other_lines = other.lines if other is not None else []
    found: list[ShadedLine] = []
    texts: list[str] = []
    at = 0
    for number, line in enumerate(reading.lines):
        tokens = [
            ShadedToken(
                index=index,
                token=token,
                other=others[index],
                is_given=index < reading.num_given,
                is_past=window is not None and index >= window,
            )
            for index, token in enumerate(line, start=at)
        ]
        at += len(line)
        theirs = other_lines[number] if number < len(other_lines) else []
        is_same = [_text(tokens) for tokens in other_lines[: number + 1]] == [*texts, _text(line)]
        texts.append(_text(line))
        own, others_loss = _sum(line), _sum(theirs) if is_same else None
        difference = None if own is None or others_loss is None else own - others_loss
        found.append(ShadedLine(tokens=tokens, loss=own, difference=difference))
    return found


def _text(line: Sequence[ReadToken]) -> str:
    return "".join(token.text for token in line)


def _sum(line: list[ReadToken]) -> float | None:
    losses = [token.loss for token in line if token.loss is not None]
    return math.fsum(losses) if losses else None
