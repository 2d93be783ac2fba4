"""Presets and recipes match the course; invalid values are refused by name."""

from __future__ import annotations

import pytest

from pipeline.config.recipes import PRESETS, RECIPES, run_config
from pipeline.config.schema import DataConfig, ModelConfig, RunConfig
from pipeline.core.errors import InputError

COURSE_WINDOWS = 16_702_061
"""Training windows of 128 tokens in the course's data set."""


def course(recipe: str, windows: int = COURSE_WINDOWS, **changes: object) -> RunConfig:
    return run_config(
        corpus="c", preset="course", recipe=recipe, vocab_size=50_000, train_tokens=windows * 128, changes=changes
    )


def test_the_course_preset_has_exactly_the_parameters_of_the_course() -> None:
    assert course("accelerate").model.num_parameters == 124_242_432


@pytest.mark.parametrize(
    ("recipe", "rate", "schedule", "decay", "batch", "loss", "clip", "steps", "every"),
    [
        ("trainer", 5e-4, "cosine", 0.1, 256, "plain", 1.0, 65_242, 5_000),
        ("keras", 5e-5, "linear", 0.01, 32, "plain", 0.0, 521_939, 521_939),
        ("accelerate", 5e-4, "linear", 0.1, 256, "weighted", 1.0, 65_242, 5_000),
    ],
)
def test_the_recipes_are_those_of_the_course(
    recipe: str, rate: float, schedule: str, decay: float, batch: int, loss: str, clip: float, steps: int, every: int
) -> None:
    training = course(recipe).training
    assert (training.learning_rate, training.schedule, training.weight_decay) == (rate, schedule, decay)
    assert (training.batch_size, training.micro_batch_of(32), training.warmup_steps) == (batch, 32, 1_000)
    assert (training.loss, training.max_grad_norm) == (loss, clip)
    assert (training.max_steps, training.eval_every_steps, training.checkpoint_every_steps) == (steps, every, every)
    assert training.eval_windows is None


def test_one_epoch_of_the_subset_has_as_many_steps_as_in_the_course() -> None:
    assert course("accelerate", windows=43_016 * 32).training.max_steps == 5_377


@pytest.mark.parametrize(("preset", "parameters"), [("tiny", 4_273_664), ("small", 17_135_616)])
def test_the_small_presets_have_the_expected_number_of_parameters(preset: str, parameters: int) -> None:
    config = run_config(
        corpus="c", preset=preset, recipe="accelerate", vocab_size=PRESETS[preset].vocab_size, train_tokens=10**7
    )
    assert config.model.num_parameters == parameters


def test_derived_values_follow_the_changed_ones() -> None:
    training = run_config(
        corpus="c", preset="tiny", recipe="accelerate", vocab_size=4096, train_tokens=10**6, changes={"max_steps": "40"}
    ).training
    assert (training.max_steps, training.warmup_steps) == (40, 20)
    assert training.eval_every_steps == 10


@pytest.mark.parametrize(("max_steps", "warmup"), [(1, 1), (2, 1), (10, 5), (100, 20), (300, 30), (2_000, 200)])
def test_a_short_runs_warmup_is_a_tenth_but_not_too_few_steps(max_steps: int, warmup: int) -> None:
    changes = {"max_steps": max_steps}
    config = run_config(
        corpus="c", preset="tiny", recipe="accelerate", vocab_size=4096, train_tokens=10**6, changes=changes
    )
    assert config.training.warmup_steps == warmup


@pytest.mark.parametrize(("max_steps", "warmup"), [(1, 1), (10, 5), (100, 6), (300, 15)])
def test_the_warmup_of_fast_is_shorter(max_steps: int, warmup: int) -> None:
    changes = {"max_steps": max_steps}
    config = run_config(corpus="c", preset="tiny", recipe="fast", vocab_size=4096, train_tokens=10**6, changes=changes)
    assert config.training.warmup_steps == warmup


def test_a_config_survives_the_round_trip_through_a_dict() -> None:
    config = course("accelerate", key_tokens="plt,pd", dropout="0")
    assert RunConfig.from_dict(config.to_dict()) == config
    assert config.training.key_tokens == ("plt", "pd")


def test_fields_of_newer_versions_are_left_out_when_read() -> None:
    value = course("trainer").to_dict()
    value["training"]["of_the_future"] = 1
    assert RunConfig.from_dict(value) == course("trainer")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"max_steps": "0"}, ["max_steps", "0", "1 or more"]),
        ({"max_steps": "ten"}, ["max_steps", "ten", "whole number"]),
        ({"max_steps": "1.5"}, ["max_steps", "1.5", "whole number"]),
        ({"max_steps": "1,5"}, ["max_steps", "1,5", "whole number"]),
        ({"max_steps": "99,999,999,999"}, ["max_steps", "99999999999", "at most 1,000,000,000"]),
        ({"learning_rate": "0,001"}, ["learning_rate", "0,001", "a number, with a point as in 0.001"]),
        ({"learning_rate": "inf"}, ["learning_rate", "inf"]),
        ({"learning_rate": "nan"}, ["learning_rate", "nan"]),
        ({"learning_rate": -1}, ["learning_rate", "-1", "1e-08 to 10"]),
        ({"learning_rate": 1e-300}, ["learning_rate", "1e-300", "1e-08 to 10"]),
        ({"matrix_learning_rate": 1e-300}, ["matrix_learning_rate", "1e-300", "1e-08 to 10"]),
        ({"max_grad_norm": 1e-30}, ["max_grad_norm", "1e-30", "0 (no clipping), or 1e-06 or more"]),
        ({"alpha": 1e-300}, ["alpha", "1e-300", "1e-06 or more"]),
        ({"learning_rate": True}, ["learning_rate", "True", "a number"]),
        ({"max_steps": True}, ["max_steps", "True", "a whole number"]),
        ({"key_tokens": [1]}, ["key_tokens", "[1]", "a list of words"]),
        ({"key_tokens": {"a": 1}}, ["key_tokens", "{'a': 1}", "a list of words"]),
        ({"key_tokens": 5}, ["key_tokens", "5", "a list of words"]),
        ({"optimizer": ["adamw"]}, ["optimizer", "['adamw']", "a text"]),
        ({"learning_rte": 1}, ["learning_rte", "learning_rate"]),
        ({"batch_size": 48, "micro_batch_size": 32}, ["micro_batch_size", "32", "48"]),
        ({"warmup_steps": 99_999_999}, ["warmup_steps", "99999999", "max_steps"]),
        ({"n_head": 7}, ["n_embd", "768", "n_head (7)"]),
        ({"window": 4096}, ["window", "4096", "1024"]),
        ({"dropout": 1}, ["dropout", "1.0"]),
        ({"keep_checkpoints": 1}, ["keep_checkpoints", "1", "at least 2"]),
        ({"precision": "int8"}, ["precision", "int8", "bf16"]),
        ({"seed": 2**32}, ["seed", str(2**32)]),
    ],
)
def test_a_value_out_of_range_is_refused_with_name_value_and_remedy(changes: dict, words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        course("accelerate", **changes)
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert message.endswith((".", "?")), "one sentence"


@pytest.mark.parametrize(("train", "held_out"), [(127, 10**6), (10**6, 127), (10**6, 0)])
def test_a_split_shorter_than_a_window_is_refused(train: int, held_out: int) -> None:
    with pytest.raises(InputError, match=r"corpus is 'c'; choose a larger one: its \d+ (training|validation) tokens"):
        run_config(
            corpus="c",
            preset="tiny",
            recipe="trainer",
            vocab_size=300,
            train_tokens=train,
            validation_tokens=held_out,
        )
    run_config(corpus="c", preset="tiny", recipe="trainer", vocab_size=300, train_tokens=128, validation_tokens=128)


def test_unknown_presets_and_recipes_name_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"huge.*tiny, small, course"):
        run_config(corpus="c", preset="huge", recipe="trainer", vocab_size=10, train_tokens=1000)
    with pytest.raises(InputError, match=r"nope.*accelerate, trainer, keras"):
        run_config(corpus="c", preset="tiny", recipe="nope", vocab_size=10, train_tokens=1000)


@pytest.mark.parametrize(
    "bad",
    [
        {"keywords": ()},
        {"keywords": ("  ",)},
        {"keywords": ("half \udcff",)},
        {"source": ""},
        {"source": "files:/\udcff"},
        {"source": 5},
        {"keywords": (1,)},
        {"tokenizer": "\ud800"},
        {"max_files": 1},
        {"windows": "slide"},
        {"vocab_size": 256},
        {"validation_share": 0.0},
    ],
)
def test_a_bad_data_config_is_refused(bad: dict) -> None:
    with pytest.raises(InputError, match=next(iter(bad)).removesuffix("s")):
        DataConfig(**bad)


def test_repeated_keywords_count_once() -> None:
    assert DataConfig(keywords=("pandas", "numpy", "pandas")).keywords == ("pandas", "numpy")


def test_every_recipe_works_with_every_preset() -> None:
    for recipe in RECIPES:
        for preset in PRESETS:
            assert run_config(corpus="c", preset=preset, recipe=recipe, vocab_size=4096, train_tokens=10**7)


def test_model_parameters_are_counted_by_hand() -> None:
    model = ModelConfig(n_layer=1, n_embd=8, n_head=2, n_positions=16, window=16, vocab_size=10)
    attention = 8 * 24 + 24 + 8 * 8 + 8
    mlp = 8 * 32 + 32 + 32 * 8 + 8
    norms = 2 * 16
    assert model.num_parameters == 10 * 8 + 16 * 8 + attention + mlp + norms + 16
