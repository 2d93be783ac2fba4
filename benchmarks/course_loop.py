"""Baseline: a plain reimplementation of the course's training loop (chapter 7, section 6, "Training with Accelerate").

It has the course's key-token weighted loss, AdamW with two parameter groups, linear schedule, gradient accumulation and
shuffling DataLoader, all through Accelerate. Three faults are fixed, because otherwise it would not run or would not be
comparable: two undefined names, an evaluation that failed on one process, and a schedule sized in micro-batches.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch.nn import CrossEntropyLoss
from torch.optim import AdamW
from torch.utils.data import DataLoader, TensorDataset
from transformers import GPT2Config, GPT2LMHeadModel, get_scheduler


@dataclass(frozen=True, kw_only=True)
class Setup:
    shape: dict[str, int]
    """n_layer, n_embd, n_head, n_positions, vocab_size."""
    train: np.ndarray
    """int64[windows, time]."""
    validation: np.ndarray
    key_token_ids: list[int]
    end_of_text: int
    micro_batch_size: int = 32
    accumulation: int = 1
    learning_rate: float = 5e-4
    weight_decay: float = 0.1
    num_steps: int
    """Optimizer steps that the schedule is sized for."""
    warmup_steps: int


@dataclass(frozen=True)
class Step:
    number: int
    """Optimizer steps so far."""
    seconds: float
    """Training time so far, without evaluations."""
    model: GPT2LMHeadModel


def keytoken_weighted_loss(inputs: torch.Tensor, logits: torch.Tensor, keytoken_ids: list[int]) -> torch.Tensor:
    """Mean over windows of each window's mean loss times (1 + its number of key tokens)."""
    shift_labels = inputs[..., 1:].contiguous()
    shift_logits = logits[..., :-1, :].contiguous()
    loss_function = CrossEntropyLoss(reduction="none")
    loss = loss_function(shift_logits.view(-1, shift_logits.size(-1)), shift_labels.view(-1))
    loss_per_window = loss.view(shift_logits.size(0), shift_logits.size(1)).mean(dim=1)
    weights = torch.stack([(inputs == token_id).float() for token_id in keytoken_ids]).sum(dim=[0, 2])
    return (loss_per_window * (1.0 + weights)).mean()


def grouped_parameters(model: torch.nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    no_decay = ("bias", "LayerNorm.weight")
    with_decay = [p for n, p in model.named_parameters() if not any(part in n for part in no_decay)]
    without = [p for n, p in model.named_parameters() if any(part in n for part in no_decay)]
    return [{"params": with_decay, "weight_decay": weight_decay}, {"params": without, "weight_decay": 0.0}]


def train(setup: Setup, *, cpu: bool = True, seed: int = 0) -> Iterator[Step]:
    """Train without end and yield a Step after each optimizer step. The caller decides when to stop."""
    torch.manual_seed(seed)
    accelerator = Accelerator(cpu=cpu, mixed_precision="no" if cpu else "fp16")
    ends = {"bos_token_id": setup.end_of_text, "eos_token_id": setup.end_of_text}
    model = GPT2LMHeadModel(GPT2Config(**setup.shape, **ends))
    optimizer = AdamW(grouped_parameters(model, setup.weight_decay), lr=setup.learning_rate)
    loader = DataLoader(
        TensorDataset(torch.from_numpy(setup.train)), batch_size=setup.micro_batch_size, shuffle=True, drop_last=True
    )
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    scheduler = get_scheduler(
        "linear", optimizer=optimizer, num_warmup_steps=setup.warmup_steps, num_training_steps=setup.num_steps
    )
    model.train()
    number, micro_batches, seconds, started = 0, 0, 0.0, time.perf_counter()
    while True:
        for (input_ids,) in loader:
            logits = model(input_ids).logits
            loss = keytoken_weighted_loss(input_ids, logits, setup.key_token_ids)
            accelerator.backward(loss / setup.accumulation)
            micro_batches += 1
            if micro_batches % setup.accumulation == 0:
                accelerator.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                scheduler.step()
                optimizer.zero_grad()
                number += 1
                if not cpu:
                    torch.cuda.synchronize()
                seconds += time.perf_counter() - started
                yield Step(number, seconds, accelerator.unwrap_model(model))
                started = time.perf_counter()


def validation_loss(model: torch.nn.Module, windows: np.ndarray, batch_size: int = 32) -> float:
    """Mean over tokens of float32 losses. Used for both sides of a comparison."""
    was_training = model.training
    model.eval()
    total = 0.0
    device = next(model.parameters()).device
    with torch.no_grad():
        for start in range(0, len(windows), batch_size):
            input_ids = torch.from_numpy(windows[start : start + batch_size]).to(device)
            logits = model(input_ids=input_ids, use_cache=False).logits[:, :-1].float()
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), input_ids[:, 1:].flatten(), reduction="sum")
            total += float(loss)
    model.train(was_training)
    return total / (len(windows) * (windows.shape[1] - 1))


Curve = list[tuple[float, float]]
"""Pairs of training seconds and validation loss."""


def curve(steps: Iterator[Step], *, num_steps: int, measure: Callable[[torch.nn.Module], float], every: int) -> Curve:
    """Train for `num_steps` steps and measure at every `every`th step and at the last one."""
    points: Curve = []
    for step in islice(steps, num_steps):
        if step.number % every == 0 or step.number == num_steps:
            points.append((step.seconds, measure(step.model)))
    return points
