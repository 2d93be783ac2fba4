"""Everything a page or a command shows of jobs, read from their folders. Writes nothing.

Cheap enough to call once a second: JSON-lines files are read again only when they have changed.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from pipeline.artifacts.corpus import corpus_warnings
from pipeline.config.schema import DataConfig
from pipeline.core import atomic_io
from pipeline.core.errors import DamagedError
from pipeline.core.paths import CorpusFolder, Home, PushFolder, RunFolder
from pipeline.hub import push_log
from pipeline.hub.restore import Archived
from pipeline.jobs.job_files import read_manifest, readable_run_config
from pipeline.jobs.run_pushes import is_pushing, latest_pushes, push_fault
from pipeline.jobs.state import RESUMABLE, JobState, in_order, job_state, queue_of, states_of
from pipeline.jobs.view_types import CorpusView, DryRunView, EvaluationView, HomeView, PushView, RunView

COUNT_AGAIN_SECONDS = 5
"""How often a page counts the files of a corpus again: there may be thousands."""


def home_view(home: Home) -> HomeView:
    """Reads each job once."""
    states = _by_path(home)
    evaluating = states.get(home.evaluating.path)
    pushes = [(corpus.id, corpus.push) for corpus in home.corpora() if corpus.push.path in states]
    restoring = atomic_io.readable_json(home.restore_status)
    return HomeView(
        restoring=restoring.get("message"),
        is_restore_fault=bool(restoring.get("is_fault")),
        evaluation=_evaluation_view(evaluating, _queue(states)) if evaluating else None,
        runs=_run_views(home, states),
        corpora=_corpus_views(home, states),
        pushes={corpus_id: _push_view(folder, states[folder.path]) for corpus_id, folder in pushes},
    )


def _by_path(home: Home) -> dict[Path, JobState]:
    return {state.folder.path: state for state in states_of(home)}


def _queue(states: dict[Path, JobState]) -> list[JobState]:
    return queue_of(state for state in states.values() if state.kind != "push")


def _run_views(home: Home, states: dict[Path, JobState]) -> list[RunView]:
    queue = _queue(states)
    found = [_run_view(home, states[folder.path], queue) for folder in home.runs() if folder.path in states]
    return sorted(found, key=lambda view: view.requested_at, reverse=True)


def _corpus_views(home: Home, states: dict[Path, JobState]) -> list[CorpusView]:
    queue = _queue(states)
    folders = [folder for folder in home.corpora() if folder.path in states or folder.is_ready]
    found = [_corpus_view(folder, states.get(folder.path) or job_state(folder), queue) for folder in folders]
    return sorted(found, key=lambda view: view.requested_at, reverse=True)


def run_view(home: Home, run_id: str) -> RunView:
    """The run, from its files; a run that nobody requested is shown as queued, without values."""
    return _run_view(home, job_state(home.run(run_id)), in_order(home))


def run_views(home: Home) -> list[RunView]:
    """Every run, newest first."""
    return _run_views(home, _by_path(home))


def corpus_view(home: Home, corpus_id: str) -> CorpusView:
    folder = home.corpus(corpus_id)
    return _corpus_view(folder, job_state(folder), in_order(home))


def corpus_views(home: Home) -> list[CorpusView]:
    """Every corpus, newest first."""
    return _corpus_views(home, _by_path(home))


def push_view(folder: PushFolder) -> PushView:
    return _push_view(folder, job_state(folder))


def _push_view(folder: PushFolder, state: JobState) -> PushView:
    pushed = _own_status(state).get("pushed") if state.state == "finished" else None
    return PushView(
        **_job_fields(state, ()),
        corpus=folder.id,
        repo=state.request.get("repo") or "",
        private=bool(state.request.get("private")),
        url=(pushed or {}).get("url"),
        pushed=pushed,
    )


def dry_run_view(home: Home) -> DryRunView:
    state = job_state(home.dry_run)
    measured = _own_status(state).get("measured") if state.state == "finished" else None
    return DryRunView(**_job_fields(state, in_order(home)), measured=measured)


def evaluation_view(home: Home) -> EvaluationView:
    return _evaluation_view(job_state(home.evaluating), in_order(home))


def _evaluation_view(state: JobState, queue: Sequence[JobState]) -> EvaluationView:
    status: dict[str, Any] = _own_status(state)
    names = ("number", "revision", "step", "stage", "done", "total")
    progress: dict[str, Any] = {name: status.get(name) for name in names}
    return EvaluationView(
        **_job_fields(state, queue),
        run=state.request.get("run"),
        count=len(state.request.get("revisions") or ()),
        **progress,
    )


def _run_view(home: Home, state: JobState, queue: Sequence[JobState]) -> RunView:
    folder = home.run(state.id)
    request, status = state.request, state.status
    config = readable_run_config(folder) or None
    pushes, archived = latest_pushes(folder), Archived.of(folder)
    return RunView(
        **{**_job_fields(state, queue), **_restoring(folder, state)},
        run=folder.id,
        corpus=request.get("corpus") or "",
        preset=request.get("preset") or "",
        recipe=request.get("recipe") or "",
        step=status.get("step") or 0,
        max_steps=status.get("max_steps") or ((config or {}).get("training") or {}).get("max_steps"),
        train_loss=status.get("train_loss"),
        eval_loss=status.get("eval_loss"),
        perplexity=status.get("perplexity"),
        tokens_per_second=status.get("tokens_per_second"),
        eta_seconds=status.get("eta_seconds") if state.is_active else None,
        config=config,
        is_pushing=is_pushing(home, pushes),
        pushed_step=next((row["step"] for row in pushes if row["state"] == push_log.PUSHED), None),
        push_fault=push_fault(home, pushes),
        can_resume=archived is None or state.state not in RESUMABLE or archived.can_resume(folder),
        gpu_problem=status.get("gpu_problem"),
    )


def _restoring(folder: RunFolder, state: JobState) -> dict[str, Any]:
    """The message of a queued run whose checkpoint is being brought back from the Hub."""
    if state.state != "queued" or not folder.restore.request.exists():
        return {}
    restoring = job_state(folder.restore)
    return {"message": _own_status(restoring).get("message")} if restoring.is_active else {}


def _corpus_view(folder: CorpusFolder, state: JobState, queue: Sequence[JobState]) -> CorpusView:
    status, job_fields = state.status, _job_fields(state, queue)
    manifest: dict[str, Any] = {}
    try:
        manifest = read_manifest(folder) or {}
    except DamagedError as error:
        job_fields |= {"state": "failed", "error": str(error)}
    if manifest:  # a corpus that was copied here has a manifest but no job; it is complete, which is what counts
        job_fields |= {"state": "finished", "error": None}
    elif job_fields["state"] == "finished":
        job_fields |= {"state": "scanned"}
    config = manifest.get("config") or state.request.get("config") or {}
    splits: list[Any] = [
        manifest.get(f"files_{split}") for split in ("train", "validation")
    ]  # None in a manifest edited by hand
    return CorpusView(
        **job_fields,
        corpus=folder.id,
        stage=status.get("stage"),
        progress=status.get("progress"),
        source=config.get("source"),
        match=config.get("match") or DataConfig.match,
        files=status.get("files") if None in splits else sum(splits),
        tokens_train=manifest.get("tokens_train"),
        tokens_validation=manifest.get("tokens_validation"),
        tokens_dropped=manifest.get("tokens_dropped"),
        vocab_size=manifest.get("vocab_size"),
        bytes_on_disk=_shown_bytes(folder, job_fields["state"], int(time.monotonic() // COUNT_AGAIN_SECONDS)),
        seconds=manifest.get("seconds") or status.get("seconds"),
        seconds_left=_seconds_left(status) if state.is_active else None,
        warnings=corpus_warnings(manifest),
        status=status,
    )


def _job_fields(state: JobState, queue: Sequence[JobState]) -> dict[str, Any]:
    """The fields of JobView."""
    status = state.status if state.kind in ("train", "prepare") else _own_status(state)
    positions = (position for position, other in enumerate(queue, 1) if other.request_id == state.request_id)
    return {
        "state": state.state,
        "error": state.error,
        "is_callers_mistake": state.is_callers_mistake,
        "message": status.get("message"),
        "place": next(positions, None) if state.state == "queued" else None,
        "requested_at": state.requested_at,
        "updated_at": status.get("updated_at"),
    }


def _own_status(state: JobState) -> dict[str, Any]:
    """The status of the newest request, else {}: a queued job still has the status.json of the previous request."""
    return state.status if state.status.get("request_id") == state.request_id else {}


@lru_cache(maxsize=256)
def _shown_bytes(folder: CorpusFolder, state: str, moment: int) -> int:
    """`corpus_bytes` for a page. `state`, `moment`: when one of them changes, the files are counted again; the end of a
    preparation deletes most of them.
    """
    return corpus_bytes(folder)


def corpus_bytes(folder: CorpusFolder) -> int:
    """Disk space that a corpus uses, in bytes."""
    total = 0
    for parent, _, names in os.walk(folder.path):
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # a job may replace files meanwhile
                total += os.stat(os.path.join(parent, name)).st_size  # noqa: PTH116, PTH118 - for every file
    return total


def _seconds_left(status: dict[str, Any]) -> float | None:
    done, seconds = status.get("progress"), status.get("stage_seconds")
    return seconds * (1 - done) / done if done and seconds else None
