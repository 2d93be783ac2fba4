"""Forecast of a run or a corpus before it is started: tokens, time, memory, disk, and warnings.

Arithmetic only: needs no torch, and reads nothing from disk except the free space and what the GPU's driver says.
"""

from __future__ import annotations

import math
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipeline.artifacts.corpus import TOKEN_BYTES, corpus_warnings, dtype_for
from pipeline.config.lr_schedule import rate_curve
from pipeline.config.memory_estimate import BYTES_PER_WEIGHT, activation_bytes, state_bytes
from pipeline.config.recipes import default_learning_rate
from pipeline.config.schema import MAX_TOKENIZER_BYTES, DataConfig, RunConfig
from pipeline.core.gpu import gpu_problem, memory_problem

MIN_EVALUATIONS = 3
"""With fewer, the loss curve does not show a trend."""
MAX_EPOCHS = 4
"""Beyond this, repeated text helps little (Muennighoff et al. 2023, Scaling Data-Constrained Language Models)."""
MAX_RATE_FACTOR = 5
"""Beyond so many times the recipe's learning rate a warning says so."""
ASSUMED_MICRO_BATCH = 8
"""Windows per micro-batch, when the device will choose it: the value used on a CPU."""
BYTES_PER_TOKEN = {4_096: 3.3, 16_384: 3.7, 50_000: 3.8}
"""Vocabulary size -> bytes per token of Python code that the course's keywords keep, with a tokenizer trained on it;
measured on 46 MB."""
STORED_SHARE = 0.23
"""Size of the compressed kept files on disk, as a fraction of their text."""
INDEX_BYTES = 1.0
"""Per token, at most: the index by which text is found in the training files (`data.verbatim.ngram_index`)."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Forecast of one run."""

    parameters: int
    steps: int
    """Optimizer steps."""
    tokens: int
    """Training tokens that the run reads, including repeats."""
    epochs: float
    """Number of passes over the corpus."""
    evaluations: int
    """Number of evaluations, including step 0 and the last step."""
    checkpoints: int
    memory_bytes: int
    """Estimate of weights, gradients, optimizer state and the activations of one micro-batch."""
    disk_bytes: int
    """Revisions in the registry, and the checkpoints that are kept to resume from."""
    learning_rates: list[tuple[int, float]]
    """(step, learning rate) pairs along the run."""
    warnings: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def plan_run(
    config: RunConfig,
    *,
    train_tokens: int,
    manifest: dict[str, Any] | None = None,
    home: Path | None = None,
    is_idle: bool = False,
) -> Plan:
    """Forecast `config` on a corpus of `train_tokens`; with its `manifest`, also warn about the corpus, and with `home`
    when its disk is too small or a GPU of this machine cannot be used. `is_idle`: no run of this home trains, so that
    memory of the GPU that is in use is not its own.
    """
    model, training = config.model, config.training
    tokens = training.max_steps * training.batch_size * model.window
    evaluations = 1 + math.ceil(training.max_steps / training.eval_every_steps)
    checkpoints = math.ceil(training.max_steps / training.checkpoint_every_steps)
    weights = model.num_parameters * BYTES_PER_WEIGHT
    micro_batch = training.micro_batch_size or training.micro_batch_of(ASSUMED_MICRO_BATCH)
    # A revision is the weights, hard-linked to its checkpoint while that exists; a checkpoint adds two moments.
    kept = training.keep_checkpoints + 2  # the best one, and the one being written
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
    plan.warnings.extend([*_warnings(config, plan, home, is_idle), *corpus_warnings(manifest or {})])
    return plan


@dataclass(frozen=True, kw_only=True)
class SourceFigures:
    """Measured figures of a source, from a preview of a part or a scan of all of it."""

    num_bytes: int
    """Bytes of text that were read."""
    kept: int
    """Number of files that contain a keyword, without those that quality rules removed."""
    kept_bytes: int
    share: float | None
    """Fraction of the source that was read, 0 to 1; None if unknown."""
    is_filtered: bool = False
    """Whether the filtered files are on disk already, so that a preparation does not read the source again."""
    knows_rules: bool = True
    """Whether the requested quality rules were applied."""


@dataclass(frozen=True, kw_only=True)
class CorpusThroughput:
    """Throughput and output sizes of an earlier preparation on this machine."""

    corpus: str
    filter_seconds_per_byte: float
    """Seconds of one process per byte of text read."""
    learn_seconds_per_byte: float
    """Seconds of tokenizer training per byte of its training text, with any number of processes."""
    write_seconds_per_byte: float
    """Seconds of one process per byte of kept text that is tokenized."""
    stored_share: float
    """Bytes of the written files per byte of kept text."""
    bytes_per_token: float
    vocab_size: int
    text_bytes: int
    """Bytes of kept text in the measurement."""


@dataclass(frozen=True, kw_only=True)
class CorpusPlan:
    """Forecast of one corpus. Unknown values are None."""

    files: int | None
    """Number of kept files, training and validation."""
    text_bytes: int | None
    tokens: int | None
    """Training and validation tokens, before any are dropped."""
    seconds: float | None
    disk_bytes: int | None
    """Size of the finished corpus: kept files and tokens."""
    most_disk_bytes: int | None
    """Peak during preparation: kept files are written twice."""
    warnings: list[str] = field(default_factory=list)


def plan_corpus(
    config: DataConfig,
    *,
    workers: int = 1,
    seen: SourceFigures | None,
    throughput: CorpusThroughput | None = None,
    home: Path | None = None,
) -> CorpusPlan:
    """Forecast `config`: scales the figures of `seen` up to the whole source, and takes the time from `throughput`.

    Without `seen` every value is None; without `throughput` the time is None. Tokens are estimated with the bytes per
    token of `throughput` if its vocabulary has the same size, else with BYTES_PER_TOKEN; with a given tokenizer they
    are None.
    """
    if seen is None or not seen.share or not seen.kept:
        return CorpusPlan(files=None, text_bytes=None, tokens=None, seconds=None, disk_bytes=None, most_disk_bytes=None)
    files = round(seen.kept / seen.share)
    needed = 1.0 if config.max_files is None else min(1.0, config.max_files / files)
    text = seen.kept_bytes / seen.share * needed
    tokens = None if config.tokenizer is not None else round(text / _bytes_per_token(config.vocab_size, throughput))
    stored = text * (throughput.stored_share if throughput else STORED_SHARE)
    token_size = TOKEN_BYTES[dtype_for(config.vocab_size)]
    disk = None if tokens is None else round(stored + (token_size + INDEX_BYTES) * tokens)
    plan = CorpusPlan(
        files=round(files * needed),
        text_bytes=round(text),
        tokens=tokens,
        seconds=_corpus_seconds(seen, throughput, needed, text, workers),
        disk_bytes=disk,
        most_disk_bytes=None if disk is None else round(disk + stored),
    )
    plan.warnings.extend(_corpus_warnings(plan, home))
    return plan


def _corpus_seconds(
    seen: SourceFigures, throughput: CorpusThroughput | None, needed: float, text: float, workers: int
) -> float | None:
    if throughput is None or not seen.share:
        return None
    unread_bytes = 0.0 if seen.is_filtered else seen.num_bytes / seen.share * needed
    parallel = unread_bytes * throughput.filter_seconds_per_byte + text * throughput.write_seconds_per_byte
    return parallel / workers + min(text, MAX_TOKENIZER_BYTES) * throughput.learn_seconds_per_byte


def _bytes_per_token(vocab_size: int, throughput: CorpusThroughput | None) -> float:
    if throughput is not None and throughput.vocab_size == vocab_size:
        return throughput.bytes_per_token
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
    """Free bytes on the disk where `folder` is or will be."""
    return shutil.disk_usage(next(path for path in (folder, *folder.parents) if path.exists())).free


def _warnings(config: RunConfig, plan: Plan, home: Path | None, is_idle: bool) -> list[str]:
    training = config.training
    found = []
    if plan.evaluations < MIN_EVALUATIONS:
        found.append(
            f"Only {plan.evaluations} evaluations; lower eval_every_steps ({training.eval_every_steps}) to see where it goes."
        )
    if plan.epochs > MAX_EPOCHS:
        found.append(
            f"The corpus is read {plan.epochs:,.1f} times; more files or fewer steps than {plan.steps:,} teach more."
        )
    if training.warmup_steps >= plan.steps and plan.steps > 1:
        found.append(f"The warm-up ({training.warmup_steps:,} steps) is as long as the run; lower warmup_steps.")
    usual = default_learning_rate(config.preset, config.recipe)
    if training.learning_rate > MAX_RATE_FACTOR * usual:
        found.append(
            f"learning_rate {training.learning_rate:g} is {training.learning_rate / usual:,.0f} times that of recipe "
            f"{config.recipe} ({usual:g}); the loss will probably grow instead of fall."
        )
    if home is not None:
        free = free_bytes(home)
        if plan.disk_bytes > free:
            found.append(
                f"It needs {plan.disk_bytes / 1e9:.1f} GB of disk and {free / 1e9:.1f} GB are free; checkpoint less often."
            )
        if training.device == "auto":
            found += filter(None, [gpu_problem(), memory_problem(plan.memory_bytes) if is_idle else None])
    return found
