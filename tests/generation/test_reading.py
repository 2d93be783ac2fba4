from __future__ import annotations

import json
import math

import pytest

from pipeline.generation.reading import Guess, Inside, LayerView, ReadToken, TokenReading


def token(text: str, loss: float | None = 1.0) -> ReadToken:
    return ReadToken(text=text, loss=loss, guesses=[Guess(text="x", probability=0.5)])


def reading(*tokens: ReadToken) -> TokenReading:
    return TokenReading(tokens=tokens, num_given=1, engine="float32 on 1 core")


def test_its_loss_is_the_mean_of_all_tokens_but_the_first() -> None:
    found = reading(token("a", None), token("b", 1.0), token("c", 2.0))
    assert found.loss == 1.5 and found.perplexity == pytest.approx(math.exp(1.5))
    assert [t.probability for t in found.tokens] == [None, pytest.approx(math.exp(-1)), pytest.approx(math.exp(-2))]
    assert reading(token("b", 1e9)).perplexity == math.exp(700), "an infinite one could not be shown"


def test_a_token_belongs_to_the_line_in_which_it_begins() -> None:
    found = reading(token("a"), token(" =\n\n"), token("b"), token(""), token("\n"))
    assert [[t.text for t in line] for line in found.lines] == [["a", " =\n\n"], ["b", "", "\n"]]
    assert reading().lines == []


def test_both_come_back_from_json() -> None:
    found = reading(token("a", None), token("b"))
    inside = Inside(
        at=1, texts=["a", "b"], layers=[LayerView(guesses=[Guess(text="b", probability=0.25)], heads=[[(0, 1.0)], []])]
    )
    assert TokenReading.from_dict(json.loads(json.dumps(found.to_dict()))).to_dict() == found.to_dict()
    assert Inside.from_dict(json.loads(json.dumps(inside.to_dict()))) == inside
