from __future__ import annotations

import json
import math

import pytest

from pipeline.generation.reading import Guess, ReadToken, TokenReading
from pipeline.ui.generate.shading import ShadedLine, shaded


def reading(*tokens: tuple[str, float | None]) -> TokenReading:
    """Of (text, probability) pairs."""
    return TokenReading(
        tokens=[
            ReadToken(
                text=text, loss=None if p is None else -math.log(p), guesses=[Guess(text="\n<", probability=0.0004)]
            )
            for text, p in tokens
        ],
        num_given=2,
        engine="float32 on 1 core",
    )


OWN = reading(("a", None), (" =\n", 0.5), ("b", 0.8), ("", 0.19), ("c\n", 0.2))


def flat(lines: list[ShadedLine], name: str) -> list[object]:
    return [getattr(token, name) for line in lines for token in line.tokens]


def test_the_less_sure_the_darker() -> None:
    assert flat(shaded(OWN), "shade") == [0, 1, 0, 3, 2]
    assert flat(shaded(OWN), "chance") == ["–", "50 %", "80 %", "19 %", "20 %"]


def test_newlines_and_parts_of_characters_are_visible() -> None:
    assert flat(shaded(OWN), "shown") == ["a", " =↵", "b", "·", "c↵"]
    assert json.loads(str(flat(shaded(OWN), "guesses")[0])) == [["\n<", "< 0.1 %"]]


def test_the_prompt_and_what_is_past_the_trained_window_are_marked() -> None:
    assert flat(shaded(OWN), "is_given") == [True, True, False, False, False]
    assert flat(shaded(OWN, window=3), "is_past") == [False, False, False, True, True]
    assert not any(flat(shaded(OWN, window=5), "is_past") + flat(shaded(OWN), "is_past"))


def test_two_readings_are_compared_by_token_and_line() -> None:
    theirs = reading(("a", None), (" =\n", 0.25), ("b", 0.8), ("", 0.9), ("c\n", 0.2))
    lines = shaded(OWN, other=theirs)
    assert flat(lines, "comparison") == ["", "better", "", "worse", ""]
    assert flat(lines, "others_chance") == ["–", "25 %", "80 %", "90 %", "20 %"]
    assert [line.difference for line in lines] == pytest.approx([-math.log(2), math.log(0.9 / 0.19)])
    assert lines[1].loss == pytest.approx(-math.log(0.8 * 0.19 * 0.2))


def test_of_other_tokens_only_the_lines_are_compared() -> None:
    theirs = reading(("a =", None), ("\n", 0.5), ("bc", 0.5), ("\n", 0.5))
    lines = shaded(OWN, other=theirs)
    assert set(flat(lines, "other")) == {None} and set(flat(lines, "comparison")) == {""}
    assert lines[1].difference == pytest.approx(-math.log(0.8 * 0.19 * 0.2) + math.log(0.25))


def test_a_line_without_a_loss_has_no_difference() -> None:
    first = reading(("a\n", None), ("b", 0.5))
    assert [line.difference for line in shaded(first, other=first)] == [None, 0.0]
    assert [line.difference for line in shaded(first, other=reading(("a", None)))] == [None, None]
