from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from pipeline.config.schema import ModelConfig
from pipeline.data.tokens.windows import Windows
from pipeline.training.evaluation import evaluate, perplexity, spread
from pipeline.training.loss import NextTokenLoss
from pipeline.training.model import build_model

WINDOW = 8
CONFIG = ModelConfig(n_layer=1, n_embd=16, n_head=2, n_positions=WINDOW, window=WINDOW, vocab_size=50)


@pytest.fixture
def accelerator() -> Accelerator:
    AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(cpu=True)


@pytest.fixture
def model() -> torch.nn.Module:
    return NextTokenLoss(build_model(CONFIG, eos_id=0, seed=0)).train()


@pytest.fixture
def windows() -> Windows:
    """Ten windows and a remainder too short for another."""
    return Windows(np.random.default_rng(0).integers(0, 50, 10 * WINDOW + 3, dtype=np.uint16), WINDOW)


def measure(
    model: torch.nn.Module,
    windows: Windows,
    accelerator: Accelerator,
    *,
    num_windows: int | None = None,
    batch_size: int = 4,
    should_stop: Callable[[], bool] = lambda: False,
) -> float | None:
    return evaluate(
        model,
        windows,
        accelerator=accelerator,
        num_windows=num_windows,
        batch_size=batch_size,
        should_stop=should_stop,
    )


def all_losses(model: torch.nn.Module, windows: Windows) -> torch.Tensor:
    """float[windows, window - 1] without dropout."""
    model.eval()
    with torch.no_grad():
        losses = model(torch.from_numpy(windows.take(np.arange(len(windows)))))
    model.train()
    return losses


def test_validation_loss_is_the_mean_over_tokens_for_any_batch_size(
    model: torch.nn.Module, windows: Windows, accelerator: Accelerator
) -> None:
    expected = all_losses(model, windows).mean().item()
    for batch_size in (1, 3, 4, 10, 64):
        assert measure(model, windows, accelerator, batch_size=batch_size) == pytest.approx(expected, rel=1e-6)


def test_a_mean_over_batches_would_weigh_the_short_last_one_too_much(
    model: torch.nn.Module, windows: Windows, accelerator: Accelerator
) -> None:
    """Negative control of the test above: what the published loop did."""
    batches = all_losses(model, windows).split(4)
    mean_of_means = torch.stack([batch.mean() for batch in batches]).mean().item()
    assert measure(model, windows, accelerator) != pytest.approx(mean_of_means, rel=1e-6)


def test_fewer_windows_are_spread_evenly_over_the_split(
    model: torch.nn.Module, windows: Windows, accelerator: Accelerator
) -> None:
    expected = all_losses(model, windows)[[0, 3, 6]].mean().item()
    assert measure(model, windows, accelerator, num_windows=3) == pytest.approx(expected, rel=1e-6)
    assert spread(10, 3).tolist() == [0, 3, 6]
    assert spread(10, None).tolist() == spread(10, 99).tolist() == list(range(10))


def test_evaluation_draws_no_random_number_and_restores_training_mode(
    model: torch.nn.Module, windows: Windows, accelerator: Accelerator
) -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    measure(model, windows, accelerator)
    assert torch.equal(torch.rand(4), expected)
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_stop_request_is_checked_between_batches(
    model: torch.nn.Module, windows: Windows, accelerator: Accelerator
) -> None:
    answers = iter([False, True])
    assert measure(model, windows, accelerator, should_stop=lambda: next(answers)) is None
    assert model.training


def test_perplexity_is_the_exponential_of_the_loss() -> None:
    assert perplexity(math.log(50_000)) == pytest.approx(50_000)
    assert perplexity(1e6) == math.inf
