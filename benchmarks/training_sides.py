"""Both sides of the comparisons in train.py. Each function is to be called in its own process."""

from __future__ import annotations

import dataclasses
import statistics
import time
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmarks.course_loop import Curve, Setup, curve, train, validation_loss
from benchmarks.peak import measured_peak
from pipeline.artifacts.checkpoint import checkpoints_of
from pipeline.artifacts.corpus import Corpus
from pipeline.config.recipes import PRESETS
from pipeline.config.schema import COURSE_KEY_TOKENS, DataConfig
from pipeline.core.atomic_io import read_json, read_lines, write_json
from pipeline.core.job_process import JobProcess
from pipeline.core.paths import CorpusFolder, Home, RunFolder
from pipeline.data.prepare import prepare
from pipeline.data.tokens.windows import open_windows
from pipeline.training import loop
from pipeline.training.checkpoint_writer import CheckpointWriter
from pipeline.training.device import use_all_cores
from pipeline.training.gradient_accumulation import accumulate
from pipeline.training.loss import KeyTokens
from pipeline.training.run import open_run
from pipeline.training.run_logger import STATUS_EVERY_SECONDS, RunLogger
from pipeline.training.session import open_session

WINDOW = 128
BATCH = 32
WARM_UP, TIMED = 1, 2
"""Untimed and timed steps of a speed measurement."""
TIMED_FOR_LENGTH = 12
"""Timed steps from which the number of steps that fit into a given time is extrapolated."""
VALIDATION_WINDOWS = 256
POINTS, OUR_POINTS = 6, 12
"""Evaluations per curve. Ours is much shorter, and the time at which it is as good must be known to a few seconds."""


def prepare_corpus(folder: CorpusFolder, config: DataConfig) -> None:
    write_json(folder.request, {"request_id": "benchmark", "config": dataclasses.asdict(config)})
    with JobProcess(folder) as job:
        prepare(job, config)


def gpu_name() -> str | None:
    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else None


def peaks() -> dict[str, float]:
    """FLOP per second of matrix products on this CPU, by precision."""
    use_all_cores()
    return {name: measured_peak(dtype, "cpu") for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16))}


# ---- the course ----
def course_setup(folder: CorpusFolder, preset: str, vocab_size: int | None, **changes: Any) -> Setup:
    corpus, size = Corpus.open(folder), PRESETS[preset]
    train_windows = open_windows(corpus, "train", WINDOW)
    tokenizer = AutoTokenizer.from_pretrained(corpus.tokenizer_path)
    shape = {name: getattr(size, name) for name in ("n_layer", "n_embd", "n_head", "n_positions")}
    return Setup(
        shape={**shape, "vocab_size": vocab_size or corpus.vocab_size},
        train=train_windows.take(np.arange(len(train_windows))),
        validation=validation_windows(folder),
        end_of_text=corpus.eos_id,
        key_token_ids=KeyTokens.find(tokenizer, COURSE_KEY_TOKENS).ids,
        **changes,
    )


def validation_windows(folder: CorpusFolder) -> np.ndarray:
    """int64[windows, time]: the same windows for both sides."""
    windows = open_windows(Corpus.open(folder), "validation", WINDOW)
    count = min(VALIDATION_WINDOWS, len(windows))
    return windows.take(np.arange(count) * len(windows) // count)


def course_speed(
    folder: CorpusFolder,
    preset: str,
    vocab_size: int | None,
    *,
    batch_size: int = BATCH,
    timed: int = TIMED,
    on_cuda: bool = False,
) -> dict[str, float]:
    use_all_cores()
    accumulation = 8 if on_cuda else 1
    changes = {"micro_batch_size": batch_size, "accumulation": accumulation}
    setup = course_setup(folder, preset, vocab_size, num_steps=100, warmup_steps=10, **changes)
    with peak() as memory:
        steps = list(islice(train(setup, cpu=not on_cuda), WARM_UP + timed))
    seconds = (steps[-1].seconds - steps[WARM_UP - 1].seconds) / timed
    tokens = setup.micro_batch_size * accumulation * WINDOW
    return {"tokens_per_second": tokens / seconds, "step_seconds": seconds, "peak_mb": memory.megabytes}


def course_quality(folder: CorpusFolder, rate: float, seconds: float) -> Curve:
    """The curve of as many steps as fit into about `seconds`. It runs to the last one, so that its rate decays to 0."""
    use_all_cores()
    step_seconds = course_speed(folder, "tiny", None, timed=TIMED_FOR_LENGTH)["step_seconds"]
    num_steps = int(seconds / step_seconds)
    setup = course_setup(
        folder, "tiny", None, learning_rate=rate, num_steps=num_steps, warmup_steps=max(1, num_steps // 10)
    )
    return curve(
        train(setup),
        num_steps=num_steps,
        measure=lambda model: validation_loss(model, setup.validation),
        every=max(1, num_steps // POINTS),
    )


# ---- ours ----
def our_run(folder: CorpusFolder, number: int, preset: str, recipe: str, changes: dict[str, Any]) -> RunFolder:
    """A run that is requested but not started."""
    run = Home(folder.path.parent.parent).run(f"run-{number}")
    request = {"request_id": run.id, "corpus": folder.id, "preset": preset, "recipe": recipe, "changes": changes}
    write_json(run.request, request)
    return run


def our_speed(
    folder: CorpusFolder,
    preset: str,
    changes: dict[str, Any],
    number: int,
    *,
    num_steps: int = WARM_UP + TIMED,
    on_cuda: bool = False,
) -> dict[str, float]:
    recipe = changes.get("recipe", "accelerate")
    intervals = {"eval_every_steps": 10**6, "eval_windows": 8, "checkpoint_every_steps": 10**6, "log_every_steps": 1}
    steps = {"max_steps": num_steps + 1, "warmup_steps": 1}
    others = {name: value for name, value in changes.items() if name != "recipe"}
    device = {} if on_cuda else {"device": "cpu"}
    run = our_run(folder, number, preset, recipe, {**intervals, **steps, **device, **others})
    with peak() as memory:
        train_run(run)
    rows = [row for row in read_lines(run.metrics) if WARM_UP <= row["step"] <= num_steps]
    seconds = (rows[-1]["seconds"] - rows[0]["seconds"]) / (len(rows) - 1)
    config = read_json(run.config) or {}
    tokens = config["training"]["batch_size"] * WINDOW
    model = config["model"]
    attention = 12 * model["n_layer"] * model["n_embd"] * WINDOW
    return {
        "tokens_per_second": tokens / seconds,
        "step_seconds": seconds,
        "peak_mb": memory.megabytes,
        "bf16": config["chosen"]["precision"] == "bf16",
        "flops_per_token": 6 * config["parameters"] + attention,
    }


def our_quality(folder: CorpusFolder, num_steps: int, number: int) -> Curve:
    """The curve of the recipe `fast`, by seconds spent in optimizer steps, including the first one."""
    every = max(1, num_steps // OUR_POINTS)
    intervals = {"eval_every_steps": every, "checkpoint_every_steps": every, "log_every_steps": 1, "eval_windows": 8}
    changes = {**intervals, "max_steps": num_steps, "device": "cpu", "keep_every_steps": 1}
    run = our_run(folder, number, "tiny", "fast", changes)
    seconds: dict[int, float] = {}

    class Timed(RunLogger):
        def row(self, step: int, *, training_seconds: float, **measured: float) -> None:
            seconds[step] = training_seconds
            super().row(step, training_seconds=training_seconds, **measured)

    loop.RunLogger = Timed  # type: ignore[misc] - this process is used for nothing else
    train_run(run)
    windows = validation_windows(folder)
    points = []
    for path in checkpoints_of(run):
        model = AutoModelForCausalLM.from_pretrained(path)
        points.append((seconds[int(path.name.split("-")[1])], validation_loss(model, windows)))
    return points


def our_overhead(folder: CorpusFolder, number: int) -> float:
    """Share of a step of preset tiny that rows, status and checkpoints take, at the preset's own intervals."""
    run = our_run(folder, number, "tiny", "accelerate", {"device": "cpu"})
    with JobProcess(run) as job:
        opened = open_run(run, read_json(run.request) or {})
        training, session = opened.config.training, open_session(opened)
        logger = RunLogger(run, job, opened.config)
        with CheckpointWriter(session, logger) as writer:
            timed: dict[str, list[float]] = {"step": [], "row": [], "status": [], "save": []}
            for step in range(1, 5):
                with clock(timed["step"]):
                    accumulate(session, step, should_stop=lambda: False, say=print)
                    session.optimizer.step()
                    session.optimizer.zero_grad()
                with clock(timed["row"]):
                    logger.row(step, training_seconds=float(step), train_loss=5.0, grad_norm=1.0, learning_rate=1e-3)
                with clock(timed["status"]):
                    job.write(step=step)
                with clock(timed["save"]):
                    writer.save(step, {})
    step, row, status, save = (statistics.median(seconds) for seconds in timed.values())
    return (
        row / training.log_every_steps + save / training.checkpoint_every_steps
    ) / step + status / STATUS_EVERY_SECONDS


def our_stall(folder: CorpusFolder, number: int) -> float:
    """Seconds for which a checkpoint of preset course stops training. Measures the second one, which reuses buffers."""
    run = our_run(folder, number, "course", "accelerate", {"device": "cpu", "vocab_size": 50_000})
    with JobProcess(run) as job:
        opened = open_run(run, read_json(run.request) or {})
        session = open_session(opened)
        logger = RunLogger(run, job, opened.config)
        for parameter in session.model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        session.optimizer.step()
        stalls: list[float] = []
        with CheckpointWriter(session, logger) as writer:
            for step in (1, 2):
                with clock(stalls):
                    writer.save(step, {})
                writer.wait()
    return stalls[-1]


def train_run(run: RunFolder) -> None:
    with JobProcess(run) as job:
        loop.train(run, job.request, job)


# ---- clocks ----
class clock:
    """`with clock(list):` appends the seconds spent inside to the list."""

    def __init__(self, seconds: list[float]) -> None:
        self._seconds = seconds

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._seconds.append(time.perf_counter() - self._started)


class peak:
    """`with peak() as memory:` measures the peak resident memory inside, in MB. Linux only."""

    megabytes = 0.0

    def __enter__(self) -> peak:
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak
        return self

    def __exit__(self, *_: object) -> None:
        status = Path("/proc/self/status").read_text()
        self.megabytes = int(next(line.split()[1] for line in status.splitlines() if "VmHWM" in line)) / 1_000
