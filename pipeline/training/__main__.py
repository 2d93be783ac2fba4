"""Trains one run: `python -m pipeline.training RUN_FOLDER`. What to do stands in the folder's request.json.

Exit status 0 when it finished or was stopped, 2 for what the caller can fix, 1 otherwise.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from pipeline.core.atomic_io import is_no_space, read_json
from pipeline.core.errors import InputError, PipelineError
from pipeline.core.job_process import Job
from pipeline.core.paths import RunFolder
from pipeline.training.checkpoints import disk_full
from pipeline.training.run import refuse_what_is_over

ENVIRONMENT = {
    # The trainer knows no Hub; without this, reading a tokenizer from a folder may still ask it for news.
    "HF_HUB_OFFLINE": "1",
    # How often a thread looks whether the others are done before it sleeps; read once, when torch is loaded. Alone on
    # its cores a step takes as long as with the default of 300,000; beside one busy process, half as long.
    "GOMP_SPINCOUNT": "2000",
}
CARRIED_OVER = ("step", "max_steps", "tokens", "train_loss", "eval_loss", "perplexity")
"""Facts of the earlier part of a resumed run, shown until the run speaks for itself."""


def main(arguments: list[str]) -> int:
    try:
        if len(arguments) != 1:
            raise InputError(f"It takes one run folder, not {len(arguments)} arguments.")
        run(RunFolder(Path(arguments[0]).absolute()))
    except PipelineError as error:
        _say(error)
        return error.exit_status
    return 0


def run(folder: RunFolder) -> None:
    os.environ.update(ENVIRONMENT)
    request = read_json(folder.request)
    if request is None:
        raise InputError(f"There is no {folder.request}; start a run with `python -m pipeline train`.")
    if os.environ.get("RANK", "0") == "0":
        _lead(folder, request)
    else:
        _follow(folder, request)


def _lead(folder: RunFolder, request: dict) -> None:
    refuse_what_is_over(folder, request)
    earlier = read_json(folder.status) or {}
    with _disk_full_in_words(folder), Job(folder) as job, _disk_full_in_words(folder):  # the job's own writes, and ours
        facts = {name: earlier[name] for name in CARRIED_OVER if name in earlier and request.get("resume")}
        job.write(**facts, message="loading PyTorch")
        from pipeline.training.loop import train

        train(folder, request, job)


def _follow(folder: RunFolder, request: dict) -> None:
    from pipeline.training.distributed import leave_signals_to_rank_0
    from pipeline.training.loop import train

    leave_signals_to_rank_0()
    train(folder, request, None)


@contextlib.contextmanager
def _disk_full_in_words(folder: RunFolder) -> Iterator[None]:
    """Raises ResourceError when metrics, status or log could not be written; a save has a sentence of its own."""
    try:
        yield
    except OSError as error:
        if is_no_space(error):
            raise disk_full(folder, "write its record") from error
        raise


def _say(error: PipelineError) -> None:
    with contextlib.suppress(OSError):  # the log may be on the full disk, too
        print(error, file=sys.stderr, flush=True)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # Python would try once more at its end, and exit with 120
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
