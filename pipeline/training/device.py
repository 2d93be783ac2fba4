"""Chooses the cores, device and precision of a run on this machine: measured, not assumed."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

import torch
from torch import nn

from pipeline.config.memory_estimate import activation_bytes, gradient_and_moment_bytes
from pipeline.config.schema import ModelConfig, RunConfig, TrainingConfig
from pipeline.core.environment import num_cores
from pipeline.core.errors import require
from pipeline.core.gpu import gpu_problem, nvidia_driver

CLEARLY_FASTER = 1.2
"""Min speedup of bfloat16 over float32 for `auto` to choose it on a CPU."""
CPU_MICRO_BATCH = 8
"""Windows. A GPT-2 of 4 to 17 million parameters trains as fast with 4 to 8 as with 32 (measured in one thread), or
faster, because more of it stays in the cache. It takes half the memory or less.
"""
MAX_MICRO_BATCH = 128
FREE_SHARE = 0.7
"""Share of a GPU's free memory for gradients, moments and the activations of one micro-batch."""


@dataclass(frozen=True)
class Precision:
    """The dtype of matrix multiplications. Weights and optimizer state are always float32."""

    name: str
    """fp32, bf16 or fp16."""
    reason: str

    @property
    def dtype(self) -> torch.dtype:
        return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[self.name]

    @property
    def for_accelerate(self) -> str:
        return "no" if self.name == "fp32" else self.name


def choose_device(config: TrainingConfig, problem: str | None = None) -> torch.device:
    """CUDA if there is a GPU without a `problem` and the configuration allows it, else the CPU."""
    is_usable = torch.cuda.is_available() and problem is None
    return torch.device("cuda" if config.device == "auto" and is_usable else "cpu")


def cuda_problem() -> str | None:
    """A sentence on why torch cannot use a GPU that is there; None if it can, or there is none. Runs a kernel: that
    alone proves that driver, build and card fit together.
    """
    driver = nvidia_driver()
    card = driver.first_visible if driver else None
    try:
        if not torch.cuda.is_available() and card is None:
            return None
        torch.ones(1, device="cuda").add_(1).item()
    except torch.OutOfMemoryError:
        return None  # usable, but full: the run's own error says who holds its memory
    except (RuntimeError, AssertionError) as error:  # a build without CUDA raises the second
        reason = (str(error) or type(error).__name__).partition("\n")[0].rstrip(".")
        name = card or torch.cuda.get_device_name()
        return gpu_problem() or (
            f"Training uses the CPU, as torch {torch.__version__} cannot use {name} ({reason}); install the build of torch "
            "for it (README, Choosing a GPU)."
        )
    return None


def hardware_name(device: torch.device, num_processes: int) -> str:
    """What the run trains on, for people: `2 x NVIDIA A10G`, `a CPU with 4 cores`."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        return name if num_processes == 1 else f"{num_processes} x {name}"
    cores = num_cores()
    return f"a CPU with {cores} core{'s' if cores > 1 else ''}"


def choose_precision(asked: str, device: torch.device, model: ModelConfig) -> Precision:
    """The requested precision; for `auto`, the best one on this machine. Raises InputError for fp16 on a CPU."""
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
    """Whether to use torch.compile: as set; for `auto`, only on CUDA."""
    return asked == "on" or (asked == "auto" and device.type == "cuda")


def allow_tf32(device: torch.device) -> None:
    """Allow TF32 on CUDA, for matrix multiplications that stay in float32."""
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")


def choose_micro_batch(config: RunConfig, device: torch.device, num_processes: int) -> int:
    """Windows per forward pass of one process: as set, else what is fast on this device and fits into its memory. The
    model must be on the device already: its weights are no longer free memory.
    """
    training = config.training
    if training.micro_batch_size is not None:
        return training.micro_batch_size
    max_windows = CPU_MICRO_BATCH
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        shards = num_processes if training.sharding != "none" else 1
        free_for_batch = FREE_SHARE * free - gradient_and_moment_bytes(config.model) / shards
        max_windows = max(1, min(MAX_MICRO_BATCH, int(free_for_batch / activation_bytes(config.model))))
    return training.micro_batch_of(max_windows, num_processes)


def measure_bf16_speedup(*, width: int, rows: int = 1_024, rounds: int = 5) -> float:
    """Speedup of the MLP of one block, forward and backward, under bf16 autocast over float32.

    Runs both in turn and takes the best of `rounds` each, so that a busy moment does not decide. Takes well under a
    second.
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
    """Let torch use every core available to this process, divided among this machine's ranks; returns how many it uses.

    OMP_NUM_THREADS wins where it is set; torchrun sets it to 1. By default torch uses every core of the host, even in a
    container limited to two of them, and is then many times slower.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, num_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))
    return torch.get_num_threads()
