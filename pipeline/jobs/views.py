"""Everything a page or a command shows of jobs, read from their folders. Writes nothing.

Cheap enough to call once a second: JSON-lines files are read again only when they have changed.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from pipeline.artifacts.corpus import corpus_warnings
from pipeline.config.schema import DataConfig
from pipeline.core import atomic_io
from pipeline.core.paths import CorpusFolder, Home, PushFolder, RunFolder
from pipeline.hub import push_log
from pipeline.hub.push_status import read_retrying
from pipeline.jobs.state import ACTIVE, JobState, in_order, job_state, queue_of, states_of

COUNT_AGAIN_SECONDS = 5
"""How often a page counts the files of a corpus again: there may be thousands."""


@dataclass(frozen=True, kw_only=True)
class JobView:
    """What is shown of every job, at one moment. Values not known yet are None."""

    state: str
    """As JobState.state; `scanned` for the finished scan of a corpus's source."""
    error: str | None = None
    is_callers_mistake: bool = False
    """Whether the caller can fix the cause of `error`."""
    message: str | None = None
    """The job's own progress message."""
    place: int | None = None
    """Position in the queue, from 1; None when the job is not queued."""
    requested_at: float = 0.0
    """Unix seconds."""
    updated_at: float | None = None
    """Unix seconds of the job's last status."""

    not_printed: ClassVar[frozenset[str]] = frozenset()
    """Fields that `to_dict` leaves out."""

    def to_dict(self) -> dict[str, Any]:
        """What commands print under `--json`."""
        return {name: value for name, value in asdict(self).items() if name not in self.not_printed}


@dataclass(frozen=True, kw_only=True)
class PushFault:
    """Why the newest checkpoint of a run is not in its repo. A refused push waits for a person, a delayed one does not."""

    step: int
    repo: str
    is_refused: bool
    error: str
    can_retry: bool = True
    """Whether another attempt may succeed: not for a checkpoint that is damaged or gone."""
    attempts: int | None = None
    """Attempts in a row that failed; None unless the publisher is at it."""
    since: float | None = None
    """When the first of them failed, or when the Hub refused it, in Unix seconds."""
    next_at: float | None = None
    """When the next one starts, in Unix seconds."""


@dataclass(frozen=True, kw_only=True)
class RunView(JobView):
    """One run."""

    run: str
    corpus: str
    preset: str
    recipe: str
    step: int
    """Optimizer steps done."""
    max_steps: int | None
    train_loss: float | None
    eval_loss: float | None
    perplexity: float | None
    """exp(eval_loss)."""
    tokens_per_second: float | None
    eta_seconds: float | None
    config: dict[str, Any] | None
    """config.json: everything needed to run it again."""
    is_pushing: bool = False
    """Whether a checkpoint is being pushed, or waits for its next try."""
    pushed_step: int | None = None
    """The newest step whose commit is on the Hub."""
    push_fault: PushFault | None = None
    """Why a newer checkpoint does not arrive; None when nothing is known to be wrong."""
    gpu_problem: str | None = None
    """Why the trainer did not use a GPU that is there."""

    not_printed = frozenset({"config", "message", "is_callers_mistake", "is_pushing"})

    def to_dict(self) -> dict[str, Any]:
        return {"run": self.run, "name": self.run, **super().to_dict()}  # scripts rely on both names


@dataclass(frozen=True, kw_only=True)
class CorpusView(JobView):
    """One corpus, ready or in preparation."""

    corpus: str
    stage: str | None
    progress: float | None
    """Fraction of the current stage that is done, 0 to 1."""
    source: str | None
    match: str
    """How keywords are matched (`DataConfig.match`)."""
    files: int | None
    """Kept files, training and validation."""
    tokens_train: int | None
    tokens_validation: int | None
    tokens_dropped: int | None
    vocab_size: int | None
    bytes_on_disk: int
    seconds: float | None
    seconds_left: float | None
    """Remaining seconds of the current stage at its average speed so far."""
    warnings: list[str]
    """What makes its losses say less than they seem to (`artifacts.corpus.corpus_warnings`)."""
    status: dict[str, Any]

    not_printed = frozenset({"status", "message", "updated_at", "is_callers_mistake"})


@dataclass(frozen=True, kw_only=True)
class PushView(JobView):
    """The newest push of one corpus to the Hub."""

    corpus: str
    repo: str
    private: bool
    url: str | None
    """URL of the dataset; None until the push has finished."""
    pushed: dict[str, Any] | None = None
    """The result, as a dict of `hub.dataset.Pushed`."""


@dataclass(frozen=True, kw_only=True)
class DryRunView(JobView):
    """The newest dry run."""

    measured: dict[str, Any] | None
    """Seconds of a step, an evaluation and a checkpoint; checkpoint bytes; memory; precision, device, micro-batch."""


@dataclass(frozen=True, kw_only=True)
class HomeView:
    """Every job of a home folder at one moment, the dry run excepted. Runs and corpora are newest first."""

    runs: list[RunView]
    corpora: list[CorpusView]
    pushes: dict[str, PushView]
    """Corpus id -> its newest push."""

    @property
    def is_busy(self) -> bool:
        """Whether a job is queued or running, or a checkpoint is being pushed."""
        jobs = [*self.runs, *self.corpora, *self.pushes.values()]
        return any(job.state in ACTIVE for job in jobs) or any(run.is_pushing for run in self.runs)


def home_view(home: Home) -> HomeView:
    """Reads each job once."""
    states = _by_path(home)
    pushes = [(corpus.id, corpus.push) for corpus in home.corpora() if corpus.push.path in states]
    return HomeView(
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
        repo=state.request.get("repo", ""),
        private=bool(state.request.get("private")),
        url=(pushed or {}).get("url"),
        pushed=pushed,
    )


def dry_run_view(home: Home) -> DryRunView:
    state = job_state(home.dry_run)
    measured = _own_status(state).get("measured") if state.state == "finished" else None
    return DryRunView(**_job_fields(state, in_order(home)), measured=measured)


def latest_pushes(folder: RunFolder) -> list[dict[str, Any]]:
    """The newest row of the push log for each step, newest step first."""
    by_step = {row["step"]: row for row in atomic_io.cached_lines(folder.pushes)}
    return [by_step[step] for step in sorted(by_step, reverse=True)]


def push_fault(home: Home, pushes: Sequence[dict[str, Any]]) -> PushFault | None:
    """Why the newest checkpoint of a run does not arrive; None when it has, or is on its way. `pushes`: the run's
    `latest_pushes`.
    """
    row = next((row for row in pushes if row["state"] != push_log.SUPERSEDED), None)
    if row is None or row["state"] not in (push_log.REFUSED, push_log.RETRYING, push_log.REGISTERED):
        return None
    retrying = read_retrying(home, row["repo"])
    if row["state"] == push_log.REFUSED:
        return PushFault(
            step=row["step"],
            repo=row["repo"],
            is_refused=True,
            error=row.get("error") or "",
            can_retry="/" in row["repo"] and not (row.get("seen") or row.get("gone")),
            since=row.get("time"),
        )
    if retrying is None:
        return None
    return PushFault(
        step=row["step"],
        repo=row["repo"],
        is_refused=False,
        error=retrying.error,
        attempts=retrying.attempts,
        since=retrying.since,
        next_at=retrying.next_at,
    )


def _is_pushing(home: Home, pushes: Sequence[dict[str, Any]]) -> bool:
    """Whether a publisher is at work on a row; rows of a former repo, or of a killed publisher, do not change."""
    repos = {row["repo"] for row in pushes if row["state"] in (push_log.UPLOADING, push_log.RETRYING)}
    return any(atomic_io.is_locked(home.publisher_lock(repo)) for repo in repos)


def _run_view(home: Home, state: JobState, queue: Sequence[JobState]) -> RunView:
    folder = home.run(state.id)
    request, status = state.request, state.status
    config = atomic_io.readable_json(folder.config) or None
    pushes = latest_pushes(folder)
    return RunView(
        **_job_fields(state, queue),
        run=folder.id,
        corpus=request.get("corpus", ""),
        preset=request.get("preset", ""),
        recipe=request.get("recipe", ""),
        step=status.get("step") or 0,
        max_steps=status.get("max_steps") or (config or {}).get("training", {}).get("max_steps"),
        train_loss=status.get("train_loss"),
        eval_loss=status.get("eval_loss"),
        perplexity=status.get("perplexity"),
        tokens_per_second=status.get("tokens_per_second"),
        eta_seconds=status.get("eta_seconds") if state.is_active else None,
        config=config,
        is_pushing=_is_pushing(home, pushes),
        pushed_step=next((row["step"] for row in pushes if row["state"] == push_log.PUSHED), None),
        push_fault=push_fault(home, pushes),
        gpu_problem=status.get("gpu_problem"),
    )


def _corpus_view(folder: CorpusFolder, state: JobState, queue: Sequence[JobState]) -> CorpusView:
    manifest = atomic_io.readable_json(folder.manifest)
    status, job_fields = state.status, _job_fields(state, queue)
    if manifest:  # a corpus that was copied here has a manifest but no job; it is complete, which is what counts
        job_fields |= {"state": "finished", "error": None}
    elif state.state == "finished":
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
        match=config.get("match", DataConfig.match),
        files=status.get("files") if None in splits else sum(splits),
        tokens_train=manifest.get("tokens_train"),
        tokens_validation=manifest.get("tokens_validation"),
        tokens_dropped=manifest.get("tokens_dropped"),
        vocab_size=manifest.get("vocab_size"),
        bytes_on_disk=_shown_bytes(folder, int(time.monotonic() // COUNT_AGAIN_SECONDS)),
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
def _shown_bytes(folder: CorpusFolder, moment: int) -> int:
    """`corpus_bytes` for a page. `moment`: a number that changes when it is to be counted again."""
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
