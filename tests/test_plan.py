"""The plan's arithmetic, against figures worked out by hand and those of the course."""

from __future__ import annotations

from pathlib import Path

from pipeline.config import run_config
from pipeline.plan import plan_run


def planned(train_tokens: int, preset: str = "tiny", home: Path | None = None, **changes: object):
    config = run_config(
        corpus="c", preset=preset, recipe="accelerate", vocab_size=4_096, train_tokens=train_tokens, changes=changes
    )
    return plan_run(config, train_tokens=train_tokens, home=home)


def test_the_course_run_reads_its_corpus_once_with_15_evaluations() -> None:
    tokens = 16_702_061 * 128
    config = run_config(corpus="c", preset="course", recipe="accelerate", vocab_size=50_000, train_tokens=tokens)
    plan = plan_run(config, train_tokens=tokens)
    assert plan.steps == 65_242
    assert plan.evaluations == 15, "step 0, 13 times every 5,000 updates, and the last"
    assert plan.checkpoints == 14
    assert 0.999 < plan.epochs <= 1
    assert plan.warnings == []


def test_tokens_and_epochs_follow_steps_batch_and_window() -> None:
    plan = planned(train_tokens=1_000_000, max_steps=100, batch_size=32)
    assert plan.tokens == 100 * 32 * 128
    assert plan.epochs == plan.tokens / 1_000_000


def test_each_warning_comes_when_its_cause_does() -> None:
    assert planned(10**7, max_steps=100).warnings == []
    assert "evaluations" in planned(10**7, max_steps=100, eval_every_steps=100).warnings[0]
    assert "warm-up" in planned(10**7, max_steps=100, warmup_steps=100).warnings[0]
    assert "read 41.0 times" in planned(10_000, max_steps=100).warnings[0]


def test_a_run_larger_than_the_disk_is_warned_about(tmp_path: Path) -> None:
    plan = planned(
        10**7, home=tmp_path / "not" / "there", max_steps=10**6, checkpoint_every_steps=1, eval_every_steps=10**5
    )
    assert any("disk" in warning for warning in plan.warnings)
    assert not any("disk" in warning for warning in planned(10**7, home=tmp_path, max_steps=10).warnings)
