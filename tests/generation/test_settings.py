from __future__ import annotations

import pytest

from pipeline.core.errors import InputError
from pipeline.core.settings import Limits
from pipeline.generation.settings import Sampling, check_prompt, check_sampling


def test_numbers_may_come_as_text_or_as_floats_of_a_slider() -> None:
    assert Sampling(max_new_tokens=32.0, temperature="0.5", seed="7") == Sampling(  # type: ignore[arg-type]
        max_new_tokens=32, temperature=0.5, seed=7
    )


def test_to_dict_round_trips() -> None:
    sampling = Sampling(temperature=0.3, top_k=5, samples=2)
    assert Sampling(**sampling.to_dict()) == sampling


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_new_tokens", 0),
        ("max_new_tokens", 2.5),
        ("max_new_tokens", float("inf")),
        ("max_new_tokens", 10**9),
        ("temperature", -1),
        ("temperature", 1e-9),
        ("temperature", float("nan")),
        ("temperature", "warm"),
        ("top_p", 0),
        ("top_p", 2),
        ("top_k", -1),
        ("seed", -1),
        ("seed", 2**32),
        ("samples", 0),
        ("samples", None),
    ],
)
def test_a_value_out_of_range_is_named_with_its_remedy(name: str, value: object) -> None:
    with pytest.raises(InputError, match=rf"^{name} is .*; .*\.$"):
        Sampling(**{name: value})  # type: ignore[arg-type]


def test_the_edges_are_accepted() -> None:
    Sampling(temperature=0, top_p=1, top_k=0, max_new_tokens=1, seed=2**32 - 1, samples=64)


@pytest.mark.parametrize("name", ["max_new_tokens", "samples"])
def test_a_visitor_may_not_ask_for_more_than_this_instance_gives(name: str) -> None:
    limits = Limits(new_tokens=16, samples=2)
    assert check_sampling(Sampling(max_new_tokens=16, samples=2), limits)
    with pytest.raises(InputError, match=name):
        check_sampling(Sampling(**{"max_new_tokens": 16, "samples": 2, name: 17}), limits)


@pytest.mark.parametrize("prompt", ["", "   ", "\n\t\n", None, 5])
def test_an_empty_prompt_is_refused(prompt: str) -> None:
    with pytest.raises(InputError, match="The prompt is empty; write something to go on with"):
        check_prompt(prompt, Limits())


def test_a_prompt_is_returned_unchanged() -> None:
    assert check_prompt("\nimport x \n", Limits()) == "\nimport x \n"


def test_an_over_long_prompt_is_refused_without_repeating_it() -> None:
    check_prompt("x" * 100, Limits(prompt_characters=100))
    with pytest.raises(InputError, match="101 characters long; shorten it to 100 or fewer") as refusal:
        check_prompt("x" * 101, Limits(prompt_characters=100))
    assert len(str(refusal.value)) < 100


def test_a_lone_surrogate_is_refused() -> None:
    """Python decodes invalid UTF-8 on a command line to lone surrogates, for which the tokenizer raises TypeError."""
    with pytest.raises(InputError, match=r"'\\udcff' at 4"):
        check_prompt("abc \udcff", Limits())
