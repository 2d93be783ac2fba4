"""The pushes of a run, as its push log tells them. Writes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.core import atomic_io
from pipeline.core.paths import Home, RunFolder
from pipeline.hub import push_log
from pipeline.hub.push_status import read_retrying

SHOWN_RUNS = 3


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
    """Attempts in a row that failed; None unless the publisher tries again by itself."""
    since: float | None = None
    """When the first of them failed, or when the Hub refused it, in Unix seconds."""
    next_at: float | None = None
    """When the next one starts, in Unix seconds."""


def latest_pushes(folder: RunFolder) -> list[dict[str, Any]]:
    """The newest row of the push log for each step, newest step first."""
    by_step = {row["step"]: row for row in atomic_io.cached_lines(folder.pushes) if push_log.is_whole(row)}
    return [by_step[step] for step in sorted(by_step, reverse=True)]


def shared_repo(home: Home, repo: str | None) -> str | None:
    """A sentence about the runs whose checkpoints are in the model repo already, for whoever starts another one; None
    when there are none.
    """
    if repo is None:
        return None
    pushed = {
        run.id
        for run in home.runs()
        for row in latest_pushes(run)
        if (row["state"], row["repo"]) == (push_log.PUSHED, repo)
    }
    if not pushed:
        return None
    named = ", ".join(sorted(pushed)[:SHOWN_RUNS]) + (
        f" and {len(pushed) - SHOWN_RUNS} more" if len(pushed) > SHOWN_RUNS else ""
    )
    return (
        f"{repo} has checkpoints of {named}; its main will have those of the new run, and theirs stay in its history."
    )


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


def is_pushing(home: Home, pushes: Sequence[dict[str, Any]]) -> bool:
    """Whether a publisher is at work on a row; rows of a former repo, or of a killed publisher, do not change."""
    repos = {row["repo"] for row in pushes if row["state"] in (push_log.UPLOADING, push_log.RETRYING)}
    return any(atomic_io.is_locked(home.publisher_lock(repo)) for repo in repos)
