"""Tests that both sides of the comparison train. Does not test the ratios, which depend on the machine's other load."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from benchmarks.course_loop import Setup, train, validation_loss
from benchmarks.train import check, speed_goal, verdict
from pipeline.core.paths import ROOT, Home
from tests.training.runs import make_corpus


def setup(num_steps: int, **changes: object) -> Setup:
    rng = np.random.default_rng(0)
    windows = rng.integers(0, 8, (64, 16)) + 8 * rng.integers(0, 2, (64, 1))  # a window contains only half of the ids
    shape = {"n_layer": 1, "n_embd": 16, "n_head": 2, "n_positions": 16, "vocab_size": 16}
    facts = {"micro_batch_size": 8, "learning_rate": 1e-2, **changes}
    return Setup(
        shape=shape, train=windows, validation=windows[:8], key_token_ids=[3], end_of_text=0, num_steps=num_steps,
        warmup_steps=2, **facts,  # type: ignore[arg-type]
    )  # fmt: skip


def test_one_failed_check_is_a_failed_verdict() -> None:
    good, bad = check("speed", 2.4, 2.0), check("memory", 1.2, 1.0, at_most=True)
    assert verdict([good])["ok"]
    assert (verdict([good, bad])["ratio"], verdict([good, bad])["ok"]) == (2.4, False)


@pytest.mark.parametrize(("bf16_ratio", "goal"), [(2.3, 1.7), (4.0, 2.96), (1.2, 1.1), (0.3, 1.1)])
def test_the_goal_of_speed_follows_what_bf16_is_worth_on_this_machine(bf16_ratio: float, goal: float) -> None:
    assert speed_goal(bf16_ratio) == pytest.approx(goal, abs=0.005)


def test_the_courses_loop_learns() -> None:
    steps = list(islice(train(setup(40)), 40))
    assert [step.number for step in steps] == list(range(1, 41))
    assert steps[0].seconds < steps[-1].seconds
    assert validation_loss(steps[-1].model, setup(1).validation) < np.log(16) - 0.3


def test_accumulation_makes_fewer_and_larger_steps() -> None:
    step = next(train(setup(4, micro_batch_size=4, accumulation=2)))
    assert step.number == 1


SIDES = """
import json, sys
from pathlib import Path
from benchmarks import training_sides as sides
from benchmarks.train import apart
from pipeline.core.paths import ROOT
from pipeline.core.paths import Home
corpus = Home(Path(sys.argv[1])).corpus("python")
shape = {"n_layer": 1, "n_embd": 16, "n_head": 2, "batch_size": 8}
found = {
    "ours": apart(sides.our_speed, corpus, "tiny", shape, 0),
    "course": apart(sides.course_speed, corpus, "tiny", None, batch_size=8),
    "curve": apart(sides.our_quality, corpus, 24, 1),
}
print(json.dumps(found))
"""


@pytest.mark.slow
def test_both_sides_measure_real_runs(tmp_path: Path) -> None:
    """Runs in a process that has not used torch yet: else its forked children would wait for missing threads."""
    make_corpus(Home(tmp_path).corpus("python"), num_files=200)
    command = [sys.executable, "-c", SIDES, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    for side in ("ours", "course"):
        assert found[side]["tokens_per_second"] > 0
        assert 50 < found[side]["peak_mb"] < 2_000
    assert len(found["curve"]) == 12 and found["curve"][-1][1] < found["curve"][0][1] < 7
