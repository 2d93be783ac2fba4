"""Everything a page or a command shows of runs and corpora, read from their folders. Writes nothing.

Reading is cheap enough for once a second: line files are read again only when they have changed.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.config.schema import DataConfig
from pipeline.core import atomic_io
from pipeline.core.paths import CorpusFolder, Home, JobFolder, RunFolder
from pipeline.jobs.state import JobState, in_order, job_state


@dataclass(frozen=True, kw_only=True)
class RunView:
    """One run at one moment. What is not known yet is None."""

    run: str
    name: str
    """What people call it: its label, else its id."""
    hidden: bool
    state: str
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
    error: str | None
    is_callers_mistake: bool
    """Whether whoever asked can mend `error`."""
    message: str | None
    """What the trainer says it is doing."""
    place: int | None
    """Jobs before this one in the queue, itself included; None when it does not wait."""
    requested_at: float
    """Unix seconds."""
    updated_at: float | None
    """Unix seconds of the trainer's last word."""
    config: dict[str, Any] | None
    """config.json: everything to run it again."""

    def to_dict(self) -> dict[str, Any]:
        """What `status --json` prints."""
        hidden_from_commands = ("config", "hidden", "message", "is_callers_mistake")
        return {name: value for name, value in asdict(self).items() if name not in hidden_from_commands}


@dataclass(frozen=True, kw_only=True)
class CorpusView:
    """One corpus at one moment, ready or in preparation. What is not known yet is None."""

    corpus: str
    state: str
    stage: str | None
    progress: float | None
    """Share of the present stage that is done, 0 to 1."""
    source: str | None
    match: str
    """How its keywords were looked for."""
    files: int | None
    """Kept files, training and validation."""
    tokens_train: int | None
    tokens_validation: int | None
    tokens_dropped: int | None
    vocab_size: int | None
    bytes_on_disk: int
    error: str | None
    is_callers_mistake: bool
    """Whether whoever asked can mend `error`."""
    place: int | None
    requested_at: float
    seconds: float | None
    seconds_left: float | None
    """Of the present stage, if it goes on as it went."""
    status: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """What `prepare --json` prints."""
        return {name: value for name, value in asdict(self).items() if name not in ("status", "is_callers_mistake")}


@dataclass(frozen=True, kw_only=True)
class PushView:
    """The newest push of one corpus to the Hub at one moment. What is not known yet is None."""

    corpus: str
    state: str
    repo: str
    private: bool
    message: str | None
    """How far it is."""
    url: str | None
    """Of the dataset, when it is there."""
    error: str | None
    updated_at: float | None
    """Unix seconds of its last word."""


def run_view(home: Home, run_id: str) -> RunView:
    """The run as its files say; a run nobody asked for is one that is queued with nothing known."""
    return _run_view(home.run(run_id), in_order(home))


def run_views(home: Home) -> list[RunView]:
    """Every run, newest first."""
    queue = in_order(home)
    views = [_run_view(folder, queue) for folder in home.runs() if folder.request.exists()]
    return sorted(views, key=lambda view: view.requested_at, reverse=True)


def corpus_view(home: Home, corpus_id: str) -> CorpusView:
    return _corpus_view(home.corpus(corpus_id), in_order(home))


def corpus_views(home: Home) -> list[CorpusView]:
    """Every corpus, newest first."""
    queue = in_order(home)
    views = [_corpus_view(folder, queue) for folder in home.corpora() if folder.request.exists() or folder.is_ready]
    return sorted(views, key=lambda view: view.requested_at, reverse=True)


def push_view(folder: CorpusFolder) -> PushView | None:
    """None when nobody asked for a push of this corpus."""
    if not folder.push.request.exists():
        return None
    state = job_state(folder.push)
    # One that waits has still the status of the push before it.
    status = state.status if state.status.get("request_id") == state.request_id else {}
    return PushView(
        corpus=folder.id,
        state=state.state,
        repo=state.request.get("repo", ""),
        private=bool(state.request.get("private")),
        message=status.get("message"),
        url=(status.get("pushed") or {}).get("url") if state.state == "finished" else None,
        error=state.error,
        updated_at=status.get("updated_at"),
    )


def metrics(folder: RunFolder) -> list[dict[str, Any]]:
    """Every complete row of metrics.jsonl, oldest first."""
    return list(atomic_io.cached_lines(folder.metrics))


def samples(folder: RunFolder) -> list[dict[str, Any]]:
    """What the model wrote at each evaluation, oldest first."""
    return list(atomic_io.cached_lines(folder.samples))


def latest_pushes(folder: RunFolder) -> list[dict[str, Any]]:
    """The newest row of the ledger for each step, newest step first."""
    by_step = {row["step"]: row for row in atomic_io.cached_lines(folder.pushes)}
    return [by_step[step] for step in sorted(by_step, reverse=True)]


def log(folder: JobFolder, max_lines: int = 200) -> list[str]:
    """The last lines of the job's log, oldest first."""
    return atomic_io.tail(folder.log, max_lines)


def _run_view(folder: RunFolder, queue: list[JobState]) -> RunView:
    state = job_state(folder)
    request, status = state.request, state.status
    label = atomic_io.readable_json(folder.label)
    config = atomic_io.readable_json(folder.config) or None
    return RunView(
        run=folder.id,
        name=label.get("name") or folder.id,
        hidden=bool(label.get("hidden")),
        state=state.state,
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
        error=state.error,
        is_callers_mistake=state.is_callers_mistake,
        message=status.get("message"),
        place=_place(state, queue),
        requested_at=state.requested_at,
        updated_at=status.get("updated_at"),
        config=config,
    )


def _corpus_view(folder: CorpusFolder, queue: list[JobState]) -> CorpusView:
    manifest = atomic_io.readable_json(folder.manifest)
    state = job_state(folder)
    status = state.status
    config = manifest.get("config") or state.request.get("config") or {}
    num_files = manifest["files_train"] + manifest["files_validation"] if manifest else status.get("files")
    return CorpusView(
        corpus=folder.id,
        # A corpus that was copied here has a manifest and no job: what counts is that it is whole.
        state="finished" if manifest else "scanned" if state.state == "finished" else state.state,
        stage=status.get("stage"),
        progress=status.get("progress"),
        source=config.get("source"),
        match=config.get("match", DataConfig.match),
        files=num_files,
        tokens_train=manifest.get("tokens_train"),
        tokens_validation=manifest.get("tokens_validation"),
        tokens_dropped=manifest.get("tokens_dropped"),
        vocab_size=manifest.get("vocab_size"),
        bytes_on_disk=corpus_bytes(folder),
        error=None if manifest else state.error,
        is_callers_mistake=state.is_callers_mistake,
        place=_place(state, queue),
        requested_at=state.requested_at,
        seconds=manifest.get("seconds") or status.get("seconds"),
        seconds_left=_seconds_left(status) if state.is_active else None,
        status=status,
    )


def report(folder: CorpusFolder) -> dict[str, Any] | None:
    """What the scan of the corpus's source has found, so far if it goes on; None when there is none."""
    return atomic_io.readable_json(folder.report) or None


def corpus_bytes(folder: CorpusFolder) -> int:
    """Disk that a corpus takes."""
    total = 0
    for parent, _, names in os.walk(folder.path):
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # a job replaces files meanwhile
                total += os.stat(os.path.join(parent, name)).st_size  # noqa: PTH116, PTH118 - once a second, for every file
    return total


def _seconds_left(status: dict[str, Any]) -> float | None:
    share, seconds = status.get("progress"), status.get("stage_seconds")
    return seconds * (1 - share) / share if share and seconds else None


def _place(state: JobState, queue: list[JobState]) -> int | None:
    if state.state != "queued":
        return None
    return next((place for place, other in enumerate(queue, 1) if other.request_id == state.request_id), None)
