from __future__ import annotations

import pytest
import torch
from transformers import get_cosine_schedule_with_warmup, get_linear_schedule_with_warmup

from pipeline.config.lr_schedule import rate_curve, rate_factor
from pipeline.config.recipes import run_config
from pipeline.config.schema import TrainingConfig
from pipeline.training.optimizer import build_schedule

COURSE_TOKENS = 16_702_061 * 128


def course(recipe: str, **changes: object) -> TrainingConfig:
    return run_config(
        corpus="c", preset="course", recipe=recipe, vocab_size=50_000, train_tokens=COURSE_TOKENS, changes=changes
    ).training


def optimizer() -> torch.optim.Optimizer:
    return torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=5e-4)


def test_the_course_run_ends_at_rate_0() -> None:
    config = course("accelerate")
    assert config.max_steps == 65_242
    schedule = build_schedule(optimizer(), config)
    rates = []
    for _ in range(config.max_steps):
        schedule.optimizer.step()
        rates.append(schedule.get_last_lr()[0])
        schedule.step()
    assert schedule.get_last_lr() == [0.0]
    assert max(rates) == rates[1_000] == 5e-4
    assert 0 < rates[-1] < 1e-8


def test_counting_micro_batches_would_have_ended_at_88_percent() -> None:
    """What the published loop did: the schedule was sized in micro-batches but stepped once per update."""
    config = course("accelerate", max_steps=521_940)
    assert rate_factor(config, 65_242) == pytest.approx(0.877, abs=0.001)


@pytest.mark.parametrize(
    ("recipe", "builder"),
    [("accelerate", get_linear_schedule_with_warmup), ("trainer", get_cosine_schedule_with_warmup)],
)
@pytest.mark.parametrize("warmup_steps", [0, 1, 7, 39])
def test_the_curve_is_that_of_transformers(recipe: str, builder: object, warmup_steps: int) -> None:
    config = course(recipe, max_steps=40, warmup_steps=warmup_steps)
    ours, theirs = build_schedule(optimizer(), config), builder(optimizer(), warmup_steps, 40)  # type: ignore[operator]
    for _ in range(41):
        assert ours.get_last_lr() == pytest.approx(theirs.get_last_lr(), abs=1e-12)
        for schedule in (ours, theirs):
            schedule.optimizer.step()
            schedule.step()


def test_both_shapes_begin_and_end_at_0() -> None:
    for recipe in ("accelerate", "trainer", "keras"):
        config = course(recipe)
        assert rate_factor(config, 0) == 0
        assert rate_factor(config, config.warmup_steps) == 1
        assert rate_factor(config, config.max_steps) == 0


def test_the_rate_depends_on_the_step_alone() -> None:
    config = course("trainer", max_steps=100, warmup_steps=10)
    forwards = [rate_factor(config, step) for step in range(101)]
    assert [rate_factor(config, step) for step in reversed(range(101))] == forwards[::-1]


def test_a_flat_schedule_stays_at_its_peak_and_falls_to_0_at_the_end() -> None:
    config = course("fast", max_steps=100, warmup_steps=10, decay_share=0.4)
    factors = [rate_factor(config, step) for step in range(101)]
    assert factors[:11] == pytest.approx([step / 10 for step in range(11)])
    assert set(factors[10:61]) == {1.0}
    assert factors[60:] == pytest.approx([left / 40 for left in range(40, -1, -1)])


@pytest.mark.parametrize("recipe", ["accelerate", "trainer", "keras", "fast"])
def test_the_curve_has_every_corner(recipe: str) -> None:
    config = course(recipe, max_steps=1_000, warmup_steps=7)
    curve = dict(rate_curve(config))
    assert curve[0] == curve[1_000] == 0
    assert curve[7] == config.learning_rate == max(curve.values())
    assert len(curve) <= 64
    assert all(rate == config.learning_rate * rate_factor(config, step) for step, rate in curve.items())
