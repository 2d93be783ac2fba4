"""Presets (model sizes) and recipes (training settings), and the run configuration they give for a corpus.

Source of the course's recipes: Hugging Face LLM course, chapter 7, section 6.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from pipeline.config.parsing import parsed
from pipeline.config.schema import ModelConfig, RunConfig, TrainingConfig
from pipeline.core.errors import require


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One of the course's three training recipes, or our own, at the course's scale. The fields that ModelConfig or
    TrainingConfig has too are copied there.
    """

    title: str
    learning_rate: float
    schedule: str
    weight_decay: float
    batch_size: int
    loss: str
    max_grad_norm: float
    warmup_steps: int = 1_000
    warmup_share: float = 0.1
    """Warm-up of a short run, as a fraction of its steps."""
    fewest_warmup_steps: int = 20
    """Minimum warm-up of a short run, but at most half its steps. With 4, the loss of a 40-step run with AdamW jumped
    from 6.5 to 11.8 for one step; with 20 it falls throughout.
    """
    every_steps: int | None = 5_000
    """Steps between evaluations, checkpoints and pushes; None: once an epoch."""
    is_courses: bool = True
    """Whether this is one of the course's recipes; else it is our own."""
    optimizer: str = "adamw"
    adam_beta2: float = 0.999
    matrix_learning_rate: float = 0.02
    decay_share: float = 0.4
    dropout: float = 0.1
    zero_projections: bool = False
    short_batch_factor: float = 1.0
    """Factor on the preset's batch size in a short run: fewer windows per step allow more steps in the same time."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Values of a short run instead of the course's batch size, rate and intervals; see also `Recipe.warmup_share`."""

    max_steps: int
    batch_size: int
    learning_rate_factor: float
    """Factor on the recipe's learning rate: a small model trained for few steps tolerates, and needs, a higher one."""
    evaluations: int
    """Number of evaluations and of checkpoints after step 0, evenly spaced."""
    eval_windows: int


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A model size and the length of a run that suits it."""

    title: str
    n_layer: int
    n_embd: int
    n_head: int
    n_positions: int
    vocab_size: int
    """Vocabulary size for preparing a corpus for this preset; the model uses the corpus's actual size."""
    scale: Scale | None
    """None: the course's values, for one epoch."""


RECIPES: dict[str, Recipe] = {
    "accelerate": Recipe(
        title="Accelerate loop, key-token weighted loss",
        learning_rate=5e-4,
        schedule="linear",
        weight_decay=0.1,
        batch_size=256,
        loss="weighted",
        max_grad_norm=1.0,
    ),
    "trainer": Recipe(
        title="Trainer, plain loss, cosine",
        learning_rate=5e-4,
        schedule="cosine",
        weight_decay=0.1,
        batch_size=256,
        loss="plain",
        max_grad_norm=1.0,
    ),
    "keras": Recipe(
        title="Keras, plain loss, low rate",
        learning_rate=5e-5,
        schedule="linear",
        weight_decay=0.01,
        batch_size=32,
        loss="plain",
        max_grad_norm=0.0,
        every_steps=None,
    ),
    "fast": Recipe(
        title="Muon and AdamW, plain loss, flat schedule",
        learning_rate=5e-3,
        schedule="flat",
        weight_decay=0.1,
        batch_size=256,
        loss="plain",
        max_grad_norm=1.0,
        is_courses=False,
        optimizer="muon",
        warmup_share=0.05,
        fewest_warmup_steps=6,
        adam_beta2=0.99,
        matrix_learning_rate=0.012,
        decay_share=0.5,
        dropout=0.0,
        zero_projections=True,
        short_batch_factor=0.5,
    ),
}

PRESETS: dict[str, Preset] = {
    "tiny": Preset(
        title="Tiny",
        n_layer=4,
        n_embd=256,
        n_head=4,
        n_positions=256,
        vocab_size=4_096,
        scale=Scale(max_steps=300, batch_size=32, learning_rate_factor=4, evaluations=4, eval_windows=256),
    ),
    "small": Preset(
        title="Small",
        n_layer=6,
        n_embd=384,
        n_head=6,
        n_positions=512,
        vocab_size=16_384,
        scale=Scale(max_steps=2_000, batch_size=32, learning_rate_factor=2, evaluations=8, eval_windows=512),
    ),
    "course": Preset(
        title="Course GPT-2", n_layer=12, n_embd=768, n_head=12, n_positions=1_024, vocab_size=50_000, scale=None
    ),
}


def run_config(
    *,
    corpus: str,
    preset: str,
    recipe: str,
    vocab_size: int,
    train_tokens: int,
    validation_tokens: int | None = None,
    changes: dict[str, Any] | None = None,
) -> RunConfig:
    """The run configuration of `preset` and `recipe` for a corpus with `vocab_size` and so many tokens in its splits;
    `validation_tokens` is None when they are not known yet.

    `changes` are fields of ModelConfig or TrainingConfig, as values or as text. They override the table, and derived
    values (warm-up, intervals) are computed from them. Raises InputError for an unknown name or a value out of range.
    """
    require(preset in PRESETS, "preset", preset, f"choose one of {', '.join(PRESETS)}")
    require(recipe in RECIPES, "recipe", recipe, f"choose one of {', '.join(RECIPES)}")
    model_changes, training_changes = _split_changes(changes or {})
    size = PRESETS[preset]
    shape = {name: getattr(size, name) for name in ("n_layer", "n_embd", "n_head", "n_positions")}
    kind = {name: getattr(RECIPES[recipe], name) for name in ("dropout", "zero_projections")}
    model = ModelConfig(**{**shape, **kind, "vocab_size": vocab_size, **model_changes})
    num_windows = train_tokens // model.window
    require(
        num_windows >= 1,
        "corpus",
        corpus,
        f"choose a larger one: its {train_tokens} training tokens fill no window of {model.window}",
    )
    require(
        validation_tokens is None or validation_tokens >= model.window,
        "corpus",
        corpus,
        f"choose a larger one: its {validation_tokens} validation tokens fill no window of {model.window}",
    )
    training = TrainingConfig(
        **{**_training_defaults(size, RECIPES[recipe], num_windows, training_changes), **training_changes}
    )
    return RunConfig(corpus=corpus, preset=preset, recipe=recipe, model=model, training=training)


def default_learning_rate(preset: str, recipe: str) -> float:
    """The peak learning rate that `recipe` has for `preset`, unless it is changed."""
    return _learning_rate(PRESETS[preset], RECIPES[recipe])


def _learning_rate(size: Preset, recipe: Recipe) -> float:
    return recipe.learning_rate * (size.scale.learning_rate_factor if size.scale else 1)


def _training_defaults(size: Preset, recipe: Recipe, num_windows: int, changes: dict[str, Any]) -> dict[str, Any]:
    """Default of every field that a recipe or preset determines, derived from the fields that `changes` sets."""
    scale = size.scale
    short_batch = int(scale.batch_size * recipe.short_batch_factor) if scale else recipe.batch_size
    batch_size = changes.get("batch_size", short_batch)
    epoch = max(1, num_windows // max(1, batch_size))
    max_steps = changes.get("max_steps", scale.max_steps if scale else epoch)
    every = max(1, math.ceil(max_steps / scale.evaluations)) if scale else recipe.every_steps or epoch
    min_warmup = min(recipe.fewest_warmup_steps, max_steps // 2)
    warmup = max(min_warmup, math.ceil(recipe.warmup_share * max_steps)) if scale else recipe.warmup_steps
    own = {
        item.name: getattr(recipe, item.name)
        for item in dataclasses.fields(TrainingConfig)
        if hasattr(recipe, item.name)
    }
    return {
        **own,
        "max_steps": max_steps,
        "batch_size": batch_size,
        "learning_rate": _learning_rate(size, recipe),
        "warmup_steps": min(warmup, max_steps),
        "eval_every_steps": every,
        "eval_windows": scale.eval_windows if scale else None,
        "checkpoint_every_steps": every,
    }


def _split_changes(changes: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Parse `changes` and split them into fields of ModelConfig and fields of TrainingConfig."""
    model = {item.name for item in dataclasses.fields(ModelConfig)}
    values = parsed(changes, ModelConfig, TrainingConfig)
    return ({n: v for n, v in values.items() if n in model}, {n: v for n, v in values.items() if n not in model})
