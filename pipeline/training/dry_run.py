"""A dry run: two steps of a training run, evaluate, save, load, generate. `python -m pipeline.training.dry_run FOLDER`

The folder's request.json says what to train; the measurements go into its status.json. An error that would only occur
at a run's last step occurs here, in the first minute.
"""

from __future__ import annotations

import os
import resource
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.config.requests import RunRequest
from pipeline.core.atomic_io import read_json, read_lines, write_json
from pipeline.core.errors import PipelineError
from pipeline.core.job_process import JobProcess
from pipeline.core.paths import DryRunFolder, Home, RunFolder
from pipeline.training.__main__ import ENVIRONMENT

NEW_TOKENS = 16
RUN_ID = "dry-run"
FIRST_WRITTEN = "config.json"
"""The first file that a save writes. Files that are copied into a checkpoint keep their modification times."""


def main(arguments: list[str]) -> int:
    os.environ.update(ENVIRONMENT)
    folder = DryRunFolder(Path(arguments[0]).absolute())
    try:
        with JobProcess(folder) as job:
            with _temporary_home(folder, RunRequest.of(job.request).corpus) as home:
                measured = measure(home.run(RUN_ID), job)
            # Only now: a follower of the job may look at the disk at once.
            job.write(**({"state": "finished", "measured": measured} if measured else {"state": "stopped"}))
    except PipelineError as error:
        print(error, file=sys.stderr, flush=True)
        return error.exit_status
    return 0


@contextmanager
def _temporary_home(folder: DryRunFolder, corpus: str) -> Iterator[Home]:
    """A temporary home with the corpus in it, on the same disk, so that a full disk is detected.

    Leftovers of a killed dry run are removed first.
    """
    home, source = folder.home, Home(folder.path.parent).corpus(corpus)
    shutil.rmtree(home.path, ignore_errors=True)
    try:
        home.corpus(corpus).path.parent.mkdir(parents=True)
        home.corpus(corpus).path.symlink_to(source.path.absolute(), target_is_directory=True)
        yield home
    finally:
        shutil.rmtree(home.path, ignore_errors=True)


class _InnerRun(JobProcess):
    """The run inside a dry run. It stops when the dry run is asked to stop."""

    def __init__(self, folder: RunFolder, outer: JobProcess) -> None:
        super().__init__(folder)
        self.outer = outer

    @property
    def stop_requested(self) -> bool:
        return super().stop_requested or self.outer.stop_requested


def measure(folder: RunFolder, dry_run: JobProcess) -> dict[str, Any] | None:
    """Train the run in `folder` for the two steps that `dry_run` requests, then load and use its checkpoint.

    Returns None when it was stopped.
    """
    from pipeline.artifacts.checkpoint import newest_valid
    from pipeline.config.prompts import course_prompts
    from pipeline.generation.loading import load
    from pipeline.generation.sampling import complete
    from pipeline.generation.settings import Sampling
    from pipeline.training.loop import train

    write_json(folder.request, dry_run.request)
    with _InnerRun(folder, dry_run) as job:
        train(folder, job.request, job)
    if job.facts["state"] == "stopped":
        return None
    trained_at = time.time()
    rows = read_lines(folder.metrics)
    chosen = (read_json(folder.config) or {})["chosen"]
    checkpoint = newest_valid(folder).path
    assert checkpoint is not None
    started = time.perf_counter()
    model, tokenizer = load(checkpoint)
    loaded = time.perf_counter()
    text = complete(model, tokenizer, course_prompts()[0].text, Sampling(max_new_tokens=NEW_TOKENS, temperature=0.0))
    measured = {
        **step_figures(rows, is_compiled=chosen["compiled"]),
        "save_seconds": trained_at - (checkpoint / FIRST_WRITTEN).stat().st_mtime,
        "load_seconds": loaded - started,
        "generate_seconds": time.perf_counter() - loaded,
        "checkpoint_bytes": sum(path.stat().st_size for path in checkpoint.rglob("*") if path.is_file()),
        "peak_memory_bytes": peak_memory_bytes(),
        "completion": text[0],
        "gpu_problem": job.facts.get("gpu_problem"),
    }
    return {**measured, **chosen}


def step_figures(rows: list[dict[str, Any]], *, is_compiled: bool) -> dict[str, float]:
    """Seconds of the first step (warm-up), of the second step, and of the evaluation after it.

    The throughput of the second row covers both steps; in a compiled run only the second (see `RunLogger.warmed_up`).
    """
    first, second = (row for row in rows if row["step"] > 0)
    first_seconds = first["tokens"] / first["tokens_per_second"]
    if is_compiled:
        step_seconds = (second["tokens"] - first["tokens"]) / second["tokens_per_second"]
    else:
        step_seconds = second["tokens"] / second["tokens_per_second"] - first_seconds
    return {
        "eval_seconds": max(0.0, second["seconds"] - first["seconds"] - step_seconds),
        "first_step_seconds": first_seconds,
        "step_seconds": step_seconds,
        "eval_loss": second["eval_loss"],
    }


def peak_memory_bytes() -> int:
    """Peak memory: of the GPU where this process used one, else of this process."""
    import torch

    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated()
    unit = 1 if sys.platform == "darwin" else 1_024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
