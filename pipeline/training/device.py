"""What this machine offers a run: cores, a device, a precision. Measured, not assumed."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

import torch
from torch import nn

from pipeline.config.memory_estimate import activation_bytes, state_bytes
from pipeline.config.schema import ModelConfig, RunConfig, TrainingConfig
from pipeline.core.environment import num_cores
from pipeline.core.errors import require

CLEARLY_FASTER = 1.2
"""Times as fast as float32 that bfloat16 has to be on a CPU before it is taken."""
CPU_MICRO_BATCH = 8
"""Windows: a GPT-2 of 4 to 17 million parameters trains as fast with 4 to 8 as with 32 (measured in one thread), or faster,
as more of it stays in the cache; and takes half the memory or less.
"""
MOST_MICRO_BATCH = 128
FREE_SHARE = 0.7
"""Of the free memory of a GPU that a micro-batch may fill."""


@dataclass(frozen=True)
class Precision:
    """The type matrices are multiplied in; weights and optimizer state are float32 always."""

    name: str
    """fp32, bf16 or fp16."""
    reason: str

    @property
    def dtype(self) -> torch.dtype:
        return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[self.name]

    @property
    def for_accelerate(self) -> str:
        return "no" if self.name == "fp32" else self.name


def choose_device(config: TrainingConfig) -> torch.device:
    """CUDA if there is one and the run may have it, else the CPU."""
    return torch.device("cuda" if config.device == "auto" and torch.cuda.is_available() else "cpu")


def choose_precision(asked: str, device: torch.device, model: ModelConfig) -> Precision:
    """What was asked for; for `auto`, what this machine does well. Raises InputError for fp16 on a CPU."""
    require(
        asked != "fp16" or device.type == "cuda", "precision", asked, "choose auto, bf16 or fp32: there is no CUDA GPU"
    )
    if asked != "auto":
        return Precision(asked, "as set")
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return Precision("bf16", "this GPU has it")
        return Precision("fp16", "this GPU has no bf16")
    speedup = measure_bf16_speedup(width=model.n_embd)
    faster = speedup >= CLEARLY_FASTER
    return Precision("bf16" if faster else "fp32", f"measured, bf16 is {speedup:.1f} times as fast as fp32")


def choose_compile(asked: str, device: torch.device) -> bool:
    """Whether torch.compile makes the model's kernels: as set; for `auto`, on CUDA."""
    return asked == "on" or (asked == "auto" and device.type == "cuda")


def allow_tf32(device: torch.device) -> None:
    """On CUDA, for what stays in float32."""
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")


def choose_micro_batch(config: RunConfig, device: torch.device, num_processes: int) -> int:
    """Windows per forward pass of one process: as set, else what this device does well and has the memory for."""
    training = config.training
    if training.micro_batch_size is not None:
        return training.micro_batch_size
    most = CPU_MICRO_BATCH
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        left = FREE_SHARE * free - state_bytes(config.model)
        most = max(1, min(MOST_MICRO_BATCH, int(left / activation_bytes(config.model))))
    return training.micro_batch_of(most, num_processes)


def measure_bf16_speedup(*, width: int, rows: int = 1_024, rounds: int = 5) -> float:
    """How many times as fast one MLP of a block runs, forward and backward, under bf16 autocast as in float32.

    Both in turn, the best of `rounds` each, so that a busy moment does not decide. Takes well under a second.
    """
    width = min(width, 768)
    with torch.random.fork_rng(devices=[]):
        block = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        inputs = torch.randn(rows, width)
    fp32: list[float] = []
    bf16: list[float] = []
    for _ in range(rounds):
        for is_bf16, seconds in ((False, fp32), (True, bf16)):
            started = time.perf_counter()
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=is_bf16):
                block(inputs).float().square().mean().backward()
            seconds.append(time.perf_counter() - started)
    return min(fp32) / min(bf16)


def use_all_cores() -> int:
    """Let torch use every core this process may have, shared with its sister ranks; returns how many it uses.

    OMP_NUM_THREADS, where it is set, wins; torchrun sets it to 1. torch by itself takes every core of the host, also in a container that was
    given two of them, and is then many times slower.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, num_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))
    return torch.get_num_threads()
