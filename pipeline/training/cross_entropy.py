"""Cross-entropy of logits in half precision, without a copy of all of them in float32."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

VALUES_AT_A_TIME = {"cpu": 2**19}
"""Logits that are float32 at one time, by device: on a CPU as many as stay in its cache."""
VALUES_AT_A_TIME_ELSEWHERE = 2**26


class CrossEntropy(torch.autograd.Function):
    """`apply(logits, wanted)`: the loss of each row, as `F.cross_entropy(logits.float(), wanted, reduction="none")`.

    `logits`: float[rows, vocab], of any precision; `wanted`: int64[rows]. Returns float32[rows]. The logits are turned
    into float32 and back a few rows at a time, once for the losses and again for their gradients: several times as fast
    as all of them at once where they do not fit into a cache. Beside the logits one float per row stays in memory.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, wanted: Tensor) -> Tensor:
        normalizers = torch.empty(len(wanted), dtype=torch.float32, device=logits.device)
        for rows in _parts(logits):
            normalizers[rows] = logits[rows].float().logsumexp(dim=1)
        ctx.save_for_backward(logits, wanted, normalizers)
        return normalizers - logits.gather(1, wanted[:, None])[:, 0].float()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradients: Tensor) -> tuple[Tensor, None]:
        """Of each row: the probabilities, less one for the token that was wanted, times the row's gradient."""
        logits, wanted, normalizers = ctx.saved_tensors
        result = torch.empty_like(logits)
        for rows in _parts(logits):
            part = (logits[rows] - normalizers[rows, None]).exp_()  # float32, as the normalizers are
            part.scatter_add_(1, wanted[rows, None], part.new_full((len(part), 1), -1.0))
            result[rows] = part.mul_(gradients[rows, None])
        return result, None


def _parts(logits: Tensor) -> list[slice]:
    values = VALUES_AT_A_TIME.get(logits.device.type, VALUES_AT_A_TIME_ELSEWHERE)
    size = max(1, values // logits.shape[1])
    return [slice(start, start + size) for start in range(0, len(logits), size)]
