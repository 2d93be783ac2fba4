"""The peak speed of matrix products: of the data sheets of GPUs, and as measured on this device."""

from __future__ import annotations

import time

import torch

PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12, "A10": 125e12, "T4": 65e12}
"""Dense FLOP per second in bf16 and fp16 by GPU, from the manufacturers' data sheets. A longer name comes first."""
MIN_SIZE, MAX_SIZE = 256, 8_192
"""Rows of the square matrices that are multiplied."""


def sheet_peak(name: str) -> float | None:
    """FLOP per second of the GPU `name` in bf16 and fp16; None for one that is not in the table."""
    return next((flops for part, flops in PEAKS.items() if part in name), None)


def measured_peak(dtype: torch.dtype, device: str, *, seconds: float = 1.0) -> float:
    """FLOP per second of the fastest of the products of two square matrices that fit into about `seconds`: of growing
    size, as a CPU without bf16 takes seconds for what others do in milliseconds. On CUDA float32 means TF32.
    """
    if device == "cuda":
        torch.set_float32_matmul_precision("high")
    end, best, size = time.perf_counter() + seconds, 0.0, MIN_SIZE
    left, right = _matrices(size, dtype, device)
    while time.perf_counter() < end or not best:
        started = time.perf_counter()
        left @ right
        if device == "cuda":
            torch.cuda.synchronize()
        took = time.perf_counter() - started
        best = max(best, 2 * size**3 / took)
        if size < MAX_SIZE and 10 * 8 * took < seconds:  # ten products of twice the size still fit
            size *= 2
            left, right = _matrices(size, dtype, device)
    return best


def _matrices(size: int, dtype: torch.dtype, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    return left, right
