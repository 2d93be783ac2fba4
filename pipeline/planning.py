"""What a run or a corpus will take, before it is started: tokens, time, memory, disk, and what to warn about.

Arithmetic only: no torch, nothing is read but the free disk.
"""

from __future__ import annotations

import math
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipeline.config.lr_schedule import rate_curve
from pipeline.config.memory_estimate import BYTES_PER_WEIGHT, activation_bytes, state_bytes
from pipeline.config.schema import DataConfig, RunConfig

FEWEST_EVALUATIONS = 3
"""Below this a curve says nothing about where the run is going."""
MOST_EPOCHS = 4
"""Beyond this, repeated text teaches little (Muennighoff et al. 2023, Scaling Data-Constrained Language Models)."""
ASSUMED_MICRO_BATCH = 8
"""Windows, where the machine that trains will choose: what it takes on a CPU."""
BYTES_PER_TOKEN = {4_096: 3.3, 16_384: 3.7, 50_000: 3.8}
"""Of the Python code that the course's keywords keep, by size of the vocabulary trained on it: measured on 46 MB of them."""
STORED_SHARE = 0.23
"""Kept files take about this much of their text when they are written, compressed."""
MOST_LEARNED_BYTES = 50_000_000
"""A tokenizer is trained on no more text than this (`data.tokenizer`)."""
LARGEST_SHORT_VOCABULARY = 65_536
"""A token takes 2 bytes up to this vocabulary, and 4 beyond."""


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
    learning_rates: list[tuple[int, float]]
    """Step and rate along the run."""
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
    micro_batch = training.micro_batch_size or training.micro_batch_of(ASSUMED_MICRO_BATCH)
    # A revision is the weights, hard-linked to its checkpoint while that is kept; a checkpoint adds two moments.
    kept = training.keep_checkpoints + 2  # the best one, and the one that is being written
    if training.keep_every_steps is not None:
        kept += training.max_steps // training.keep_every_steps
    disk = weights * checkpoints + 2 * weights * min(kept, checkpoints)
    plan = Plan(
        parameters=model.num_parameters,
        steps=training.max_steps,
        tokens=tokens,
        epochs=tokens / max(1, train_tokens),
        evaluations=evaluations,
        checkpoints=checkpoints,
        memory_bytes=state_bytes(model) + micro_batch * activation_bytes(model),
        disk_bytes=disk,
        learning_rates=rate_curve(training),
    )
    plan.warnings.extend(_warnings(config, plan, home))
    return plan


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What is known of a source: the figures of a look at some of it, or of a scan of it all."""

    num_bytes: int
    """Text that was read."""
    kept: int
    """Files that mention a keyword, less those that rules of quality removed."""
    kept_bytes: int
    share: float | None
    """Of the source that was read, 0 to 1; None when nobody knows."""
    is_filtered: bool = False
    """Whether a preparation finds all this on the disk and does not read the source again."""
    knows_rules: bool = True
    """Whether the rules of quality that are asked for were applied."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """What an earlier preparation here took and gave."""

    corpus: str
    filter_seconds_per_byte: float
    """Of one process, per byte of text that is read."""
    learn_seconds_per_byte: float
    """Training the tokenizer, per byte of text it learns from, by however many processes."""
    write_seconds_per_byte: float
    """Of one process, per byte of kept text that becomes tokens."""
    stored_share: float
    """Bytes of the files that are written, per byte of kept text."""
    bytes_per_token: float
    vocab_size: int
    text_bytes: int
    """Kept text that it was measured on."""


@dataclass(frozen=True, kw_only=True)
class CorpusPlan:
    """One corpus, foreseen. What is not known yet is None."""

    files: int | None
    """Kept files, training and validation."""
    text_bytes: int | None
    tokens: int | None
    """Training and validation, before anything is dropped."""
    seconds: float | None
    disk_bytes: int | None
    """What stays: kept files and tokens."""
    most_disk_bytes: int | None
    """What it takes meanwhile: kept files are written twice."""
    warnings: list[str] = field(default_factory=list)


def plan_corpus(
    config: DataConfig,
    *,
    workers: int = 1,
    seen: Seen | None,
    pace: Pace | None = None,
    home: Path | None = None,
) -> CorpusPlan:
    """Foresee `config`: the files of `seen` in proportion to all of the source, at the pace of an earlier preparation.

    Without `seen` nothing is known; without `pace` no time. Tokens are those of a vocabulary trained on code like this
    (BYTES_PER_TOKEN), or of `pace` where its vocabulary is as large; of a given tokenizer they are not known.
    """
    if seen is None or not seen.share or not seen.kept:
        return CorpusPlan(files=None, text_bytes=None, tokens=None, seconds=None, disk_bytes=None, most_disk_bytes=None)
    files = round(seen.kept / seen.share)
    needed = 1.0 if config.max_files is None else min(1.0, config.max_files / files)
    text = seen.kept_bytes / seen.share * needed
    tokens = None if config.tokenizer is not None else round(text / _bytes_per_token(config.vocab_size, pace))
    stored = text * (pace.stored_share if pace else STORED_SHARE)
    token_size = 2 if config.vocab_size <= LARGEST_SHORT_VOCABULARY else 4
    disk = None if tokens is None else round(stored + token_size * tokens)
    plan = CorpusPlan(
        files=round(files * needed),
        text_bytes=round(text),
        tokens=tokens,
        seconds=_corpus_seconds(seen, pace, needed, text, workers),
        disk_bytes=disk,
        most_disk_bytes=None if disk is None else round(disk + stored),
    )
    plan.warnings.extend(_corpus_warnings(plan, home))
    return plan


def _corpus_seconds(seen: Seen, pace: Pace | None, needed: float, text: float, workers: int) -> float | None:
    if pace is None or not seen.share:
        return None
    unread = 0.0 if seen.is_filtered else seen.num_bytes / seen.share * needed
    spread = unread * pace.filter_seconds_per_byte + text * pace.write_seconds_per_byte
    return spread / workers + min(text, MOST_LEARNED_BYTES) * pace.learn_seconds_per_byte


def _bytes_per_token(vocab_size: int, pace: Pace | None) -> float:
    if pace is not None and pace.vocab_size == vocab_size:
        return pace.bytes_per_token
    return BYTES_PER_TOKEN[min(BYTES_PER_TOKEN, key=lambda size: abs(math.log(size / vocab_size)))]


def _corpus_warnings(plan: CorpusPlan, home: Path | None) -> list[str]:
    free = free_bytes(home) if home is not None else math.inf
    if plan.most_disk_bytes is None or plan.most_disk_bytes <= free:
        return []
    return [
        f"It needs about {plan.most_disk_bytes / 1e9:.1f} GB of disk and {free / 1e9:.1f} GB are free; "
        "keep fewer files, or delete a corpus."
    ]


def free_bytes(folder: Path) -> int:
    """Free disk where `folder` is, or will be."""
    return shutil.disk_usage(next(path for path in (folder, *folder.parents) if path.exists())).free


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
        free = free_bytes(home)
        if plan.disk_bytes > free:
            found.append(
                f"It needs {plan.disk_bytes / 1e9:.1f} GB of disk and {free / 1e9:.1f} GB are free; checkpoint less often."
            )
    return found
