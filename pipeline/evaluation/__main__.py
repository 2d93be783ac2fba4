"""The evaluation of revisions as a job: `python -m pipeline.evaluation FOLDER`. The folder's request.json names them.

The results of each revision are written when it is complete, and it is then not evaluated again: after a stop or a kill,
the next evaluation goes on with the others.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from pipeline.artifacts.revision import Revision, window_of
from pipeline.config.requests import EvaluateRequest
from pipeline.core.atomic_io import readable_json, write_json
from pipeline.core.environment import without_credentials
from pipeline.core.errors import InputError, PipelineError
from pipeline.core.job_process import JobProcess, StopRequested
from pipeline.core.paths import EvaluationFolder, Home
from pipeline.evaluation import held_out, memorising
from pipeline.evaluation.evaluate import LINE_TOKENS, TEMPERATURE, TOP_P, evaluate
from pipeline.evaluation.sandbox import Sandbox
from pipeline.evaluation.tasks import CodeTask, tasks

STANDARD_WINDOW = 128
"""Of a model that does not tell what it was trained on."""
WRITE_EVERY_SECONDS = 1.0


def main(arguments: list[str]) -> int:
    try:
        if len(arguments) != 1:
            raise InputError(f"arguments are {arguments!r}; give one folder: python -m pipeline.evaluation FOLDER.")
        with JobProcess(EvaluationFolder(Path(arguments[0]).absolute())) as job:
            run(job, EvaluateRequest.of(job.request), tasks())
    except PipelineError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    except Exception:
        print(without_credentials(traceback.format_exc()), file=sys.stderr)
        return 1
    return 0


def run(job: JobProcess, request: EvaluateRequest, suite: tuple[CodeTask, ...]) -> None:
    """Evaluate the revisions of the request; one that cannot be evaluated is left out. Raises PipelineError at the end if
    any was.
    """
    home = Home(job.folder.path.parent)
    errors: list[PipelineError] = []
    try:
        with job.interruptible(), Sandbox() as sandbox:
            for number, facts in enumerate(request.revisions, start=1):
                try:
                    _evaluate(job, request, home, sandbox, suite, number, facts)
                except PipelineError as error:
                    print(error, file=sys.stderr, flush=True)
                    errors.append(error)
    except StopRequested:
        job.write(state="stopped")
        return
    if errors:
        raise _told(errors, len(request.revisions))
    job.write(state="finished")


def _told(errors: list[PipelineError], num_revisions: int) -> PipelineError:
    if num_revisions == 1:
        return errors[0]
    told = PipelineError(f"{len(errors)} of {num_revisions} revisions were not evaluated: {errors[0]}")
    told.exit_status = errors[0].exit_status
    return told


def _evaluate(
    job: JobProcess,
    request: EvaluateRequest,
    home: Home,
    sandbox: Sandbox,
    suite: tuple[CodeTask, ...],
    number: int,
    facts: dict[str, Any],
) -> None:
    revision = Revision.from_facts(facts, commit=facts["commit"], path=Path(facts["path"]))
    other = request.corpus if request.corpus != revision.corpus else None
    path = home.evaluation(revision.revision, other)
    settings = settings_of(suite, request.samples, exact=request.exact)
    if not request.again and _is_kept(home, path, revision, other or revision.corpus, settings):
        return
    progress = _Progress(job, number, revision)
    result = evaluate(
        home,
        revision,
        suite,
        sandbox,
        num_samples=request.samples,
        window=window_of(revision) or STANDARD_WINDOW,
        corpus=other,
        exact=request.exact,
        show=progress.show,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {**settings, **result})


def _is_kept(home: Home, path: Path, revision: Revision, corpus: str, settings: dict[str, Any]) -> bool:
    """Whether there are all figures of the revision already: a corpus may have come to this disk since."""
    kept = readable_json(path)
    if (kept.get("run"), kept.get("run_uid")) != (revision.run, revision.run_uid):
        return False
    is_complete = bool(kept.get("held_out")) or not (corpus and home.corpus(corpus).is_ready)
    return is_complete and all(kept.get(name) == value for name, value in settings.items())


def settings_of(suite: tuple[CodeTask, ...], samples: int, *, exact: bool) -> dict[str, Any]:
    """What a result depends on, besides the revision and the versions of the libraries."""
    how = [TEMPERATURE, TOP_P, LINE_TOKENS, held_out.MAX_TOKENS, held_out.NUM_LINES, held_out.LINE_TOKENS]
    how += [memorising.GIVEN_TOKENS, memorising.CONTINUED_TOKENS, memorising.NUM_FILES]
    text = json.dumps([how, *([task.name, task.prompt, task.check, task.max_lines] for task in suite)])
    return {"suite": hashlib.sha256(text.encode()).hexdigest()[:12], "samples": samples, "exact": exact}


class _Progress:
    """Writes what is done into the status, once a second at most, and a line for each tenth into the log."""

    def __init__(self, job: JobProcess, number: int, revision: Revision) -> None:
        self._job = job
        self._written_at = 0.0
        self._printed: object = None
        self._job.write(number=number, revision=revision.revision, step=revision.step, stage=None, done=0, total=0)
        print(f"Revision {revision.revision}, step {revision.step:,}", flush=True)

    def show(self, stage: str, done: int, total: int) -> None:
        is_new = stage != self._job.facts.get("stage")
        if is_new or time.monotonic() - self._written_at > WRITE_EVERY_SECONDS:
            self._written_at = time.monotonic()
            self._job.write(stage=stage, done=done, total=total)
        if (tenth := (stage, 10 * done // total)) != self._printed:
            self._printed = tenth
            print(f"{stage} {done:,} of {total:,}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
