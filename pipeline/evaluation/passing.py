"""The share of tasks that a model solves: pass@k with its confidence interval. Numbers only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

import numpy as np

RESAMPLES = 2_000
LEVEL = 0.95


@dataclass(frozen=True)
class Share:
    """A share from 0 to 1, with the interval in which it would lie for other tasks of this kind, with a probability of
    LEVEL.
    """

    value: float
    low: float
    high: float


def pass_at(k: int, num_samples: int, num_right: int) -> float:
    """The probability that of k samples, drawn from these without replacement, at least one is right. Unbiased:
    Chen et al. 2021, "Evaluating Large Language Models Trained on Code", section 2.1.
    """
    assert 1 <= k <= num_samples and 0 <= num_right <= num_samples
    return 1 - comb(num_samples - num_right, k) / comb(num_samples, k)


def mean_share(values: Sequence[float]) -> Share:
    """The mean of one value for each task. The interval is a bootstrap over the tasks, with a fixed seed."""
    found = np.asarray(values, dtype=float)
    assert len(found), "there is a task"
    picks = np.random.default_rng(0).integers(len(found), size=(RESAMPLES, len(found)))
    low, high = np.quantile(found[picks].mean(axis=1), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Share(float(found.mean()), float(low), float(high))
