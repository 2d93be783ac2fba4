"""Validation loss: the mean over tokens, on all processes. Perplexity is its exponential."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn

from pipeline.data.tokens.windows import Windows


def evaluate(
    model: nn.Module,
    windows: Windows,
    *,
    accelerator: Accelerator,
    num_windows: int | None,
    batch_size: int,
    should_stop: Callable[[], bool],
) -> float | None:
    """Mean loss per predicted token over `num_windows` evenly spaced windows; None uses all of them.

    `model`: a NextTokenLoss, prepared by `accelerator` or not. `batch_size`: windows per forward pass of one process.
    Returns None when it was stopped before the end. Leaves the model in training mode and draws no random number.
    """
    selected = spread(len(windows), num_windows)
    totals = torch.zeros(2, dtype=torch.float64, device=accelerator.device)  # sum of losses, number of tokens
    model.eval()
    try:
        for start in range(0, len(selected), batch_size * accelerator.num_processes):
            if should_stop():
                return None
            indices = selected[start + accelerator.process_index * batch_size :][:batch_size]
            totals += _loss_and_tokens(model, windows, indices, accelerator.device)
    finally:
        model.train()
    loss, tokens = accelerator.reduce(totals, "sum").tolist()
    return loss / tokens


def spread(length: int, count: int | None) -> np.ndarray:
    """int64[count]: `count` evenly spaced indices below `length`, always the same ones."""
    count = min(count or length, length)
    return np.arange(count, dtype=np.int64) * length // count


def perplexity(loss: float) -> float:
    """exp(loss); infinity where that overflows a float."""
    return math.exp(loss) if loss < 700 else math.inf


@torch.no_grad()
def _loss_and_tokens(model: nn.Module, windows: Windows, indices: np.ndarray, device: torch.device) -> torch.Tensor:
    """float64[2]: sum of losses and number of predicted tokens of the windows at `indices`."""
    # A process whose share of the last round is empty still runs one window without counting it: the model may be
    # sharded over all processes, and then each forward pass needs all of them.
    taken = indices if len(indices) else np.zeros(1, dtype=np.int64)
    input_ids = torch.from_numpy(windows.take(taken)).to(device)
    losses = model(input_ids).double()
    sums = torch.stack([losses.sum(), torch.tensor(losses.numel(), dtype=torch.float64, device=device)])
    return sums if len(indices) else torch.zeros_like(sums)
