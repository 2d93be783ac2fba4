"""Cross-entropy of half-precision logits without a float32 copy of all of them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

VALUES_AT_A_TIME = {"cpu": 2**19}
"""Max logits in float32 at a time, by device: on a CPU as many as stay in its cache."""
VALUES_AT_A_TIME_ELSEWHERE = 2**26


class CrossEntropy(torch.autograd.Function):
    """`apply(logits, targets)`: the loss of each row, as `F.cross_entropy(logits.float(), targets, reduction="none")`.

    `logits`: float[rows, vocab], of any precision; `targets`: int64[rows]. Returns float32[rows]. The logits are
    converted to float32 and back a few rows at a time, once for the losses and again for the gradients. Where the
    logits do not fit into a cache, this is several times as fast as converting all at once. Besides the logits, one
    float per row is kept.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor) -> Tensor:
        normalizers = torch.empty(len(targets), dtype=torch.float32, device=logits.device)
        for rows in _row_slices(logits):
            normalizers[rows] = logits[rows].float().logsumexp(dim=1)
        ctx.save_for_backward(logits, targets, normalizers)
        return normalizers - logits.gather(1, targets[:, None])[:, 0].float()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradients: Tensor) -> tuple[Tensor, None]:
        """Gradient of each row: its probabilities, minus one at the target token, times the row's incoming gradient."""
        logits, targets, normalizers = ctx.saved_tensors
        result = torch.empty_like(logits)
        for rows in _row_slices(logits):
            part = (logits[rows] - normalizers[rows, None]).exp_()  # float32, as the normalizers are
            part.scatter_add_(1, targets[rows, None], part.new_full((len(part), 1), -1.0))
            result[rows] = part.mul_(gradients[rows, None])
        return result, None


def _row_slices(logits: Tensor) -> list[slice]:
    values = VALUES_AT_A_TIME.get(logits.device.type, VALUES_AT_A_TIME_ELSEWHERE)
    size = max(1, values // logits.shape[1])
    return [slice(start, start + size) for start in range(0, len(logits), size)]
