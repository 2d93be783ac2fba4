"""Trains one run: `python -m pipeline.training RUN_FOLDER`. What to do stands in the folder's request.json.

Exit status 0 when it finished or was stopped, 2 for what the caller can fix, 1 otherwise.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pipeline.errors import InputError, PipelineError
from pipeline.files import read_json
from pipeline.folders import RunFolder
from pipeline.job import Job
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
        print(error, file=sys.stderr, flush=True)
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
    with Job(folder) as job:
        facts = {name: earlier[name] for name in CARRIED_OVER if name in earlier and request.get("resume")}
        job.write(**facts, message="loading PyTorch")
        from pipeline.training.loop import train

        train(folder, request, job)


def _follow(folder: RunFolder, request: dict) -> None:
    from pipeline.training.loop import train
    from pipeline.training.processes import leave_signals_to_rank_0

    leave_signals_to_rank_0()
    train(folder, request, None)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
