"""The whole way of a run in small: two updates, evaluate, save, load, generate. `python -m pipeline.training.dry_run
RUN_FOLDER`; what it measured is written into the folder's rehearsal.json.

What would only fail at a run's last step fails here, in its first minute.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

from pipeline.core.atomic_io import read_json, read_lines, write_json
from pipeline.core.errors import PipelineError
from pipeline.core.job_process import Job
from pipeline.core.paths import RunFolder
from pipeline.training.__main__ import ENVIRONMENT

NEW_TOKENS = 16
FIRST_WRITTEN = "config.json"
"""Of a checkpoint's own files; those that are copied into it keep their times."""


def main(arguments: list[str]) -> int:
    os.environ.update(ENVIRONMENT)
    try:
        rehearse(RunFolder(Path(arguments[0]).absolute()))
    except PipelineError as error:
        print(error, file=sys.stderr, flush=True)
        return error.exit_status
    return 0


def rehearse(folder: RunFolder) -> None:
    """Train the run in `folder`, which asks for two steps, and use what it saved."""
    from pipeline.artifacts.checkpoint import newest_valid
    from pipeline.config.prompts import course_prompts
    from pipeline.generation.loading import load
    from pipeline.generation.sampling import complete
    from pipeline.generation.settings import Sampling
    from pipeline.training.loop import train

    with Job(folder) as job:
        train(folder, job.request, job)
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
    }
    write_json(folder.path / "rehearsal.json", {**measured, **chosen})


def step_figures(rows: list[dict[str, Any]], *, is_compiled: bool) -> dict[str, float]:
    """Seconds of the first step, which warms up, of the second, and of the evaluation behind it.

    A row's speed is that of both steps; of the second alone in a compiled run (see `Record.warmed_up`).
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
    """The most that was taken: of the GPU's memory where there is one, else of this process'."""
    import torch

    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated()
    unit = 1 if sys.platform == "darwin" else 1_024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
