"""Resumes runs, also those that were restored from the Hub: what such a run lacks is requested first, and the queue
brings it back before the run starts. Keeps a page restoring until the Hub has answered.
"""

from __future__ import annotations

import contextlib
import re
import sys
import time
from pathlib import Path
from typing import Any

from pipeline.artifacts.checkpoint import complete_checkpoints
from pipeline.config.parsing import known
from pipeline.config.requests import JobRequest, PrepareRequest, RunRequest
from pipeline.config.schema import DataConfig
from pipeline.core.atomic_io import write_json
from pipeline.core.errors import HubError, InputError, PipelineError
from pipeline.core.paths import Home, JobFolder, RunFolder
from pipeline.core.repo_names import REPO
from pipeline.core.settings import STATE, Settings
from pipeline.hub import bucket_restore, gallery_dataset, restore
from pipeline.hub.dataset_files import LOCAL_TOKENIZER
from pipeline.hub.restore import Archived
from pipeline.jobs.job import request_lock, resume_job, submit
from pipeline.jobs.runs import find_run
from pipeline.jobs.state import RESUMABLE, job_state, states_of

TRY_AGAIN_SECONDS = 30.0
ELSEWHERE = re.compile(r"installed|files|pypi(?:[:#].*)?|hub:.+", re.DOTALL)
"""Sources that are not files of this machine; `files` without a path is what a pushed record says of these."""


def resume_run(settings: Settings, run_id: str, *, request_id: str | None = None, queue: bool = False) -> str:
    """`resume_job` for a run. Also raises InputError for a restored run whose training state or corpus cannot be brought
    back.
    """
    folder = find_run(settings, run_id)
    archived = Archived.of(folder)
    if archived is not None and job_state(folder).state in RESUMABLE:
        _bring_back(settings, folder, archived)
    return resume_job(settings, folder, request_id=request_id, queue=queue)


def _bring_back(settings: Settings, folder: RunFolder, archived: Archived) -> None:
    """Request what the run lacks on this disk; the requests stand before that of the run."""
    with request_lock(settings) as home:
        lacks_checkpoint = not complete_checkpoints(folder)
        if not archived.can_resume(folder):
            raise InputError(
                f"Run {folder.id} cannot be resumed: this disk lost its checkpoints, and {archived.repo} has its model, but "
                f"not its training state; start a new run, with {STATE}=1 to push the state too."
            )
        corpus = home.corpus(RunRequest.of(job_state(folder).request).corpus)
        preparation = None
        if not corpus.is_ready and not _is_active(corpus):
            preparation = _preparation(folder, archived, corpus.id)
        is_in_dataset = preparation is not None and bool(archived.corpus.get("dataset"))
        if (lacks_checkpoint or is_in_dataset) and not _is_active(folder.restore):
            submit(folder.restore, JobRequest())
        if preparation is not None:
            submit(corpus, preparation)


def _is_active(folder: JobFolder) -> bool:
    return folder.request.exists() and job_state(folder).is_active


def _preparation(folder: RunFolder, archived: Archived, corpus_id: str) -> PrepareRequest:
    """The request to prepare the run's corpus as it was. Raises InputError when its source is not known any more."""
    manifest = archived.corpus.get("manifest")
    config = manifest.get("config") if isinstance(manifest, dict) else None
    sources = [config.get("source"), config.get("validation_source")] if isinstance(config, dict) else [None]
    if config is None or (not archived.corpus.get("dataset") and (sources[0] is None or "files" in sources)):
        raise InputError(
            f"Run {folder.id} needs corpus {corpus_id}, which is not on this disk and was not pushed as a dataset; prepare it "
            f"again from the same files as {corpus_id}, then resume the run."
        )
    _check_reads_nothing_here(folder, archived, config)
    return PrepareRequest(config=DataConfig(**known(DataConfig, config)))


def _check_reads_nothing_here(folder: RunFolder, archived: Archived, config: dict[str, Any]) -> None:
    """Raises InputError for a configuration that would read files of this machine: whoever can write to the repo could
    have them read. Those of a corpus that was prepared here are named without their path, and come from its dataset.
    """
    sources, tokenizer = [config.get("source"), config.get("validation_source")], config.get("tokenizer")
    fine = [source is None or (isinstance(source, str) and ELSEWHERE.fullmatch(source)) for source in sources]
    is_repo = isinstance(tokenizer, str) and REPO.fullmatch(tokenizer) is not None and not Path(tokenizer).exists()
    is_pushed = tokenizer == LOCAL_TOKENIZER and bool(archived.corpus.get("dataset"))
    if not all(fine) or not (tokenizer is None or is_repo or is_pushed):
        raise InputError(
            f"Run {folder.id} of {archived.repo} asks for files of this machine; prepare its corpus yourself, then resume "
            "the run."
        )


def resume_interrupted(settings: Settings) -> list[str]:
    """Resume every run that was ended from outside, oldest first; returns their ids. One that cannot be resumed is named
    in the log.
    """
    interrupted = [s for s in states_of(Home(settings.home)) if s.kind == "train" and s.state == "interrupted"]
    resumed = []
    for state in sorted(interrupted, key=lambda state: state.requested_at):
        try:
            resumed.append(resume_run(settings, state.id, queue=True))
        except PipelineError as error:
            print(f"Run {state.id} is not resumed: {error}", file=sys.stderr)
    return resumed


def restore_and_resume(settings: Settings) -> None:
    """Bring back the runs of the archive and of the Hub's repo, however long these cannot be read; then, if the owner asked for it,
    resume those that a restart interrupted. restore.json has what is being done. For a page's thread.
    """
    home = Home(settings.home)

    def say(text: str, *, is_fault: bool = False) -> None:
        with contextlib.suppress(OSError):  # a full disk must not end the thread
            write_json(home.restore_status, {"message": text, "is_fault": is_fault})

    for place, is_due, bring_back in (
        (settings.archive, bucket_restore.is_due, bucket_restore.restore_all),
        (settings.hub_repo, restore.is_due, restore.restore_runs),
    ):
        is_done = not is_due(settings)
        while not is_done:
            try:
                bring_back(settings, say)
                is_done = True
            except (HubError, OSError) as error:
                say(f"The runs in {place} are not shown yet: {error}", is_fault=True)
                time.sleep(TRY_AGAIN_SECONDS)
    home.restore_status.unlink(missing_ok=True)
    # Once: a push brings it back first as well, and no run waits for it.
    try:
        gallery_dataset.restore_dataset(settings)
    except (PipelineError, OSError) as error:
        print(f"The gallery in {settings.gallery_repo} is not restored: {error}", file=sys.stderr)
    if settings.auto_resume:
        resume_interrupted(settings)
    while bucket_restore.is_due(settings):  # it was empty: perhaps it is mounted later
        time.sleep(TRY_AGAIN_SECONDS)
        with contextlib.suppress(OSError):
            if bucket_restore.restore_all(settings) and settings.auto_resume:
                resume_interrupted(settings)
