"""Multiplies rows by a weight matrix, so that each row of the result depends on its own row alone, to the last bit.

So a text is the same whether it is written alone or in a batch, with any number of threads. PyTorch's usual `linear`
chooses another order of additions for another number of rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

MIN_ROWS = 2
"""With one row, oneDNN splits the sum of a long row between threads."""
CHECKED_ROWS = (2, 3, 8, 33, 144)
"""The largest is that of a full step: a part of a prompt, and the next tokens of other texts."""
OUTPUTS_AT_A_TIME = 1_024
"""Bounds the memory of the products that RowByRow adds up."""


class Linear(Protocol):
    """`rows`, float32[rows, in], times the transposed weights, plus the bias: float32[rows, out]."""

    def __call__(self, rows: Tensor) -> Tensor: ...


Build = Callable[[Tensor, Tensor | None], Linear]
"""From weights, float32[out, in], and a bias, float32[out], which the last layer does not have."""


class PackedFloat32:
    """Exact float32, with the weights in the order in which oneDNN reads them."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self._packed = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), 8)
        self._bias = bias

    def __call__(self, rows: Tensor) -> Tensor:
        given = rows.shape[0]
        if given < MIN_ROWS:
            rows = rows.expand(MIN_ROWS, -1).contiguous()
        result: Tensor = torch.ops.mkldnn._linear_pointwise(rows, self._packed, self._bias, "none", [], "")
        return result[:given]


class PackedInt8:
    """Weights of 8 bits with a scale for each output, and inputs of 8 bits with a scale for each row. The sums are whole
    numbers, so no order of additions changes them.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        scales = weight.abs().amax(dim=1).clamp_min(1e-12) / 127
        whole = (weight / scales[:, None]).round().to(torch.int8).contiguous()  # the packing takes no heed of strides
        self._packed = torch.ops.onednn.qlinear_prepack(whole, None)
        self._scales, self._zeros, self._bias = scales, torch.zeros(len(scales), dtype=torch.int32), bias

    def __call__(self, rows: Tensor) -> Tensor:
        scales = rows.abs().amax(dim=1, keepdim=True).clamp_min_(1e-12).div_(127)
        whole = rows.div(scales).round_().add_(128).to(torch.uint8)
        result: Tensor = torch.ops.onednn.qlinear_pointwise(
            whole, 1.0, 128, self._packed, self._scales, self._zeros, None, 1.0, 0, torch.float32, "none", [], "none"
        )
        result.mul_(scales)
        return result if self._bias is None else result.add_(self._bias)


class RowByRow:
    """Exact float32 where oneDNN is missing: each row by itself, so a batch is no faster than its rows.

    Threads divide the outputs, never the sum of one. PyTorch's usual `linear` of a single row calls MKL, which on some
    processors adds in another order with another number of threads.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self._parts, self._bias = weight.contiguous().split(OUTPUTS_AT_A_TIME), bias

    def __call__(self, rows: Tensor) -> Tensor:
        result = torch.stack([torch.cat([(part * row).sum(dim=1) for part in self._parts]) for row in rows])
        return result if self._bias is None else result.add_(self._bias)


class Plain:
    """PyTorch's own `linear`, for a model that is being trained, and for a GPU."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self._weight, self._bias = weight, bias

    def __call__(self, rows: Tensor) -> Tensor:
        return functional.linear(rows, self._weight, self._bias)


def exact_float32(width: int) -> Build:
    """The fastest exact float32 on this machine for sums as long as the longest of a model of that width."""
    try:
        return PackedFloat32 if _is_exact(PackedFloat32, 4 * width) else RowByRow
    except (RuntimeError, AttributeError):  # no oneDNN in this PyTorch
        return RowByRow


def has_int8() -> bool:
    """Whether this machine multiplies 8-bit numbers in hardware, and this PyTorch knows how."""
    try:
        return torch.cpu._is_vnni_supported() and _is_exact(PackedInt8, 256)
    except (RuntimeError, AttributeError):
        return False


def _is_exact(build: Build, width: int) -> bool:
    """Whether a row's result is the same in any batch, tried with random numbers."""
    random = torch.Generator().manual_seed(0)
    linear = build(torch.randn(256, width, generator=random), None)
    rows = torch.randn(max(CHECKED_ROWS), width, generator=random)
    alone = torch.cat([linear(row) for row in rows.split(1)])
    return all(torch.equal(linear(rows[:number]), alone[:number]) for number in CHECKED_ROWS)
