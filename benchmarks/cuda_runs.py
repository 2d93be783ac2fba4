"""The runs of benchmarks.cuda: what a row gets, and how its runs are requested, trained and compared."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.cuda_inputs import CORPUS
from pipeline.artifacts.checkpoint import checkpoints_of
from pipeline.core.atomic_io import read_json, read_lines, sha256, write_json
from pipeline.core.job_process import JobProcess
from pipeline.core.paths import Home, RunFolder
from pipeline.training.__main__ import ENVIRONMENT

Found = dict[str, Any]
MEGABYTE = 10**6
TRAINER = "pipeline.training"
CLOCK = ("seconds", "tokens_per_second", "time")
"""Fields of a metrics row that depend on the clock."""
SMALL_SHAPE = {"n_layer": 1, "n_embd": 64, "n_head": 2}


@dataclass(frozen=True)
class Setting:
    """What a row gets."""

    home: Home
    device: str
    is_quick: bool

    @property
    def is_cuda(self) -> bool:
        return self.device == "cuda"

    @property
    def preset(self) -> str:
        return "tiny" if self.is_quick else "course"

    @property
    def seconds(self) -> float:
        """How long a row of speed trains after its warm-up."""
        return 2.0 if self.is_quick else 20.0

    @property
    def changes(self) -> Found:
        """The run of the rows of speed: the course's vocabulary and batch, or a small one."""
        return {"vocab_size": 2_000, "batch_size": 8} if self.is_quick else {"vocab_size": 50_000, "batch_size": 256}

    @property
    def on_device(self) -> Found:
        """Changes of every run: on a CPU a model of one small layer, which also compiles in a minute."""
        return {} if self.is_cuda else {"device": "cpu", **SMALL_SHAPE}


def only_on_cuda(what: str) -> Found:
    return {"result": "not run", "what": f"{what} needs a CUDA GPU"}


def new_run(home: Home, run_id: str, *, preset: str, **changes: Any) -> RunFolder:
    """A run of the course's recipe that is requested but not started."""
    run = home.run(run_id)
    request = {"corpus": CORPUS, "preset": preset, "recipe": "accelerate", "changes": changes}
    write_json(run.request, {"request_id": run.id, "kind": "train", "requested_at": 0.0, **request})
    return run


def resume_request(run: RunFolder) -> None:
    """Ask for the rest of a run that has ended."""
    request = read_json(run.request) or {}
    write_json(run.request, {**request, "request_id": f"{request['request_id']}-again", "resume": True})


class _StopsAfter(JobProcess):
    """A job that is asked to stop `seconds` after its first steps; 0 lets it run to its end."""

    seconds = 0.0

    @property
    def stop_requested(self) -> bool:
        rows = measured_rows(RunFolder(self.folder.path))
        is_over = len(rows) > 1 and rows[-1]["seconds"] - rows[0]["seconds"] >= self.seconds
        return super().stop_requested or (self.seconds > 0 and is_over)


def train_for(run: RunFolder, seconds: float) -> None:
    """Train in this process until the run ends, or for `seconds` after its warm-up. Its output goes to its log."""
    from pipeline.training.loop import train

    with run.log.open("w") as log, contextlib.redirect_stdout(log), _StopsAfter(run) as job:
        job.seconds = seconds
        train(run, job.request, job)


def measured_rows(run: RunFolder) -> list[Found]:
    """The rows of metrics after the warm-up: the first steps compile, and tune their kernels."""
    return [row for row in read_lines(run.metrics) if row["step"] >= 4 and "train_loss" in row]


def start(run: RunFolder, environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start the trainer, with its output in its log. It stays in this row's session and ends with it."""
    with run.log.open("ab") as log:
        command = [sys.executable, "-m", TRAINER, str(run.path)]
        return subprocess.Popen(
            command, stdout=log, stderr=log, env={**os.environ, **ENVIRONMENT, **(environment or {})}
        )


def finish(run: RunFolder) -> None:
    """Train to the end in a process of its own. Raises RuntimeError with the last line of its log if it fails."""
    if start(run).wait() != 0:
        raise RuntimeError(f"run {run.id} failed: {(logged(run) or ['it said nothing'])[-1]}")


def wait_for_step(run: RunFolder, process: subprocess.Popen[bytes], step: int) -> None:
    while process.poll() is None and not any(row["step"] >= step for row in read_lines(run.metrics)):
        time.sleep(0.02)


def logged(run: RunFolder) -> list[str]:
    return [line for line in run.log.read_text(errors="replace").splitlines() if line.strip()]


def outcome(run: RunFolder) -> tuple[Any, str]:
    """All that must be equal for two runs to be bit-identical: every measured value, and the last weights."""
    rows: dict[int, Found] = {}
    for row in read_lines(run.metrics):  # of a step whose evaluation a stop delayed there are two
        rows.setdefault(row["step"], {}).update({name: row[name] for name in row if name not in CLOCK})
    return rows, sha256(checkpoints_of(run)[-1] / "model.safetensors")


def peak_memory() -> float:
    """Bytes: of the GPU where this process used one, else of this process."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return float(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1_024.0
