"""What a run will take, before it is started: tokens, epochs, evaluations, memory, disk, and what to warn about.

Arithmetic only: no torch, nothing is read but the free disk.
"""

from __future__ import annotations

import math
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipeline.config import RunConfig

FEWEST_EVALUATIONS = 3
"""Below this a curve says nothing about where the run is going."""
MOST_EPOCHS = 4
"""Beyond this, repeated text teaches little (Muennighoff et al. 2023, Scaling Data-Constrained Language Models)."""
BYTES_PER_WEIGHT = 4
"""Weights, gradients and both moments of AdamW are float32."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One run, foreseen."""

    parameters: int
    steps: int
    """Optimizer steps."""
    tokens: int
    """Training tokens the run reads, repeats included."""
    epochs: float
    """Times the corpus is read."""
    evaluations: int
    """Step 0 and the last step included."""
    checkpoints: int
    memory_bytes: int
    """Weights, gradients, optimizer state and the activations of one micro-batch: an estimate."""
    disk_bytes: int
    """Revisions in the registry and the checkpoints kept to resume from."""
    warnings: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def plan_run(config: RunConfig, *, train_tokens: int, home: Path | None = None) -> Plan:
    """Foresee `config` on a corpus of `train_tokens`; `home` lets it warn when the disk is too small."""
    model, training = config.model, config.training
    tokens = training.max_steps * training.batch_size * model.window
    evaluations = 1 + math.ceil(training.max_steps / training.eval_every_steps)
    checkpoints = math.ceil(training.max_steps / training.checkpoint_every_steps)
    weights = model.num_parameters * BYTES_PER_WEIGHT
    # A revision is the weights, hard-linked to its checkpoint while that is kept; a checkpoint adds two moments.
    disk = weights * checkpoints + 2 * weights * training.keep_checkpoints
    plan = Plan(
        parameters=model.num_parameters,
        steps=training.max_steps,
        tokens=tokens,
        epochs=tokens / max(1, train_tokens),
        evaluations=evaluations,
        checkpoints=checkpoints,
        memory_bytes=4 * weights + _activation_bytes(config),
        disk_bytes=disk,
    )
    plan.warnings.extend(_warnings(config, plan, home))
    return plan


def _activation_bytes(config: RunConfig) -> int:
    """Float32 activations kept for the backward pass of one micro-batch: about 34 per token, layer and width
    (Korthikanti et al. 2022, Reducing Activation Recomputation, halved to values), and the logits twice."""
    model = config.model
    tokens = config.training.micro_batch_size * model.window
    return tokens * BYTES_PER_WEIGHT * (17 * model.n_layer * model.n_embd + 2 * model.vocab_size)


def _warnings(config: RunConfig, plan: Plan, home: Path | None) -> list[str]:
    training = config.training
    found = []
    if plan.evaluations < FEWEST_EVALUATIONS:
        found.append(
            f"Only {plan.evaluations} evaluations; lower eval_every_steps ({training.eval_every_steps}) to see where it goes."
        )
    if plan.epochs > MOST_EPOCHS:
        found.append(
            f"The corpus is read {plan.epochs:.1f} times; more files or fewer steps than {plan.steps:,} teach more."
        )
    if training.warmup_steps >= plan.steps and plan.steps > 1:
        found.append(f"The warm-up ({training.warmup_steps:,} steps) is as long as the run; lower warmup_steps.")
    if home is not None:
        free = shutil.disk_usage(next(folder for folder in (home, *home.parents) if folder.exists())).free
        if plan.disk_bytes > free:
            found.append(
                f"It needs {plan.disk_bytes / 1e9:.1f} GB of disk and {free / 1e9:.1f} GB are free; checkpoint less often."
            )
    return found
