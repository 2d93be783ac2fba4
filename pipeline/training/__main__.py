"""Trains one run: `python -m pipeline.training RUN_FOLDER`. The folder's request.json says what to train.

Exit status: 0 when the run finished or was stopped, 2 for an error that the caller can fix, 1 for any other error.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from pipeline.core.atomic_io import read_json, readable_json
from pipeline.core.disk_full import disk_full_in_words
from pipeline.core.errors import InputError, PipelineError
from pipeline.core.imports import collector_paused
from pipeline.core.job_process import JobProcess
from pipeline.core.paths import Home, RunFolder
from pipeline.core.processes import spawn
from pipeline.training.run import refuse_what_is_over

ENVIRONMENT = {
    # The trainer does not use the Hub. Without this, loading a tokenizer from a folder may still query it for updates.
    "HF_HUB_OFFLINE": "1",
    # How often a thread polls for the others before it sleeps; read once, when torch is imported. With the cores to
    # itself a step takes as long as with the default of 300,000; beside one busy process, half as long.
    "GOMP_SPINCOUNT": "2000",
}
WORKER = "pipeline.jobs"
"""The worker's module; never imported here."""
OF_THE_LAUNCHER = ("RANK", "WORLD_SIZE", "LOCAL_", "GROUP_", "ROLE_", "MASTER_", "TORCHELASTIC_", "OMP_NUM_THREADS")
"""Prefixes of the variables that torchrun sets for a rank, and that no other process may get."""
CARRIED_OVER = ("step", "max_steps", "tokens", "train_loss", "eval_loss", "perplexity")
"""Status fields of the earlier part of a resumed run, shown until the run writes its own."""


def main(arguments: list[str]) -> int:
    try:
        if len(arguments) != 1:
            raise InputError(f"It takes one run folder, not {len(arguments)} arguments.")
        run(RunFolder(Path(arguments[0]).absolute()))
    except PipelineError as error:
        _print_error(error)
        return error.exit_status
    return 0


def run(folder: RunFolder) -> None:
    shell = dict(os.environ)
    os.environ.update(ENVIRONMENT)
    request = read_json(folder.request)
    if request is None:
        raise InputError(f"There is no {folder.request}; start a run with `python -m pipeline train`.")
    if os.environ.get("RANK", "0") == "0":
        _run_rank_0(folder, request, shell)
    else:
        _run_other_rank(folder, request)


def _run_rank_0(folder: RunFolder, request: dict, shell: Mapping[str, str]) -> None:
    refuse_what_is_over(folder, request)
    earlier = readable_json(folder.status)
    in_words = partial(disk_full_in_words, folder.path, f"Run {folder.id} could not write its record", "resume the run")
    with in_words(), JobProcess(folder) as job, in_words():  # the outer one covers JobProcess's own writes
        facts = {name: earlier[name] for name in CARRIED_OVER if name in earlier and request.get("resume")}
        job.write(**facts, message="loading PyTorch")
        if request.get("held"):
            _wake_worker(folder, shell)
        with collector_paused():
            from pipeline.training.loop import train

        train(folder, request, job)


def _wake_worker(folder: RunFolder, shell: Mapping[str, str]) -> None:
    """Start the worker, which keeps the publisher alive as long as the run trains. Without it no checkpoint of a run
    that was started by hand would be registered, and none that is not registered is ever deleted. A surplus worker
    exits at once.
    """
    home = Home(folder.path.parent.parent)
    own = {name: value for name, value in shell.items() if not name.startswith(OF_THE_LAUNCHER)}
    spawn(WORKER, [], log=home.worker_log, environment={**own, "PIPELINE_HOME": str(home.path)})


def _run_other_rank(folder: RunFolder, request: dict) -> None:
    with collector_paused():
        from pipeline.training.distributed import leave_signals_to_rank_0
        from pipeline.training.loop import train

    leave_signals_to_rank_0()
    train(folder, request, None)


def _print_error(error: PipelineError) -> None:
    with contextlib.suppress(OSError):  # the log may be on the full disk as well
        print(error, file=sys.stderr, flush=True)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # otherwise Python would flush again at exit, fail, and exit with 120
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
