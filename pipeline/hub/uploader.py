"""Uploads revisions to the Hub, one at a time, oldest first.

Of several waiting revisions of one run, only the oldest and the newest are pushed; those in between are skipped.
A push runs in a process of its own, so that registering the next checkpoints never waits for the Hub, because training
deletes old ones, and so that a push that gets nowhere can be ended.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

from pipeline.artifacts.revision import Registry, Revision
from pipeline.core.paths import Home
from pipeline.hub import push_attempt, push_log, push_status
from pipeline.hub.archive import state_bytes
from pipeline.hub.push_attempt import Outcome, PushAttempt
from pipeline.hub.push_log import PushLog
from pipeline.hub.push_status import Retrying

HOUR = 3_600.0
TOO_MANY = (
    "The Hub takes about 128 commits an hour for a repo, and this one has had its share; the push waits for its turn."
)


@dataclass(frozen=True, kw_only=True)
class Patience:
    """The publisher's intervals and timeouts; tests use shorter ones."""

    poll_seconds: float = 1.0
    """Between two scans of the runs."""
    idle_seconds: float = 2.0
    """How long it stays with nothing to publish and no running run before it exits."""
    first_retry_seconds: float = 1.0
    """Delay after the first passing fault; doubled after each further one."""
    longest_retry_seconds: float = 30.0
    answer_seconds: float = 30.0
    """Timeout of each response of the Hub."""
    attempt_seconds: float = 60.0
    """Time for a push, in addition to that for its bytes."""
    bytes_per_second: float = 250_000.0
    """The slowest upload that is waited for."""
    commits_per_hour: int = 100
    """Below the Hub's limit of about 128 per repo, which other writers share."""

    def retry_seconds(self, failures: int) -> float:
        """Delay after this many failures in a row."""
        return min(self.longest_retry_seconds, self.first_retry_seconds * 2 ** min(failures - 1, 30))

    def push_seconds(self, num_bytes: int) -> float:
        """How long a push of so many bytes may take."""
        return self.attempt_seconds + num_bytes / self.bytes_per_second


@dataclass(frozen=True)
class Waiting:
    """One revision to upload, with the push log that records it."""

    log: PushLog
    revision: Revision

    def write(self, state: str, *, commit: str | None = None, error: str | None = None) -> None:
        self.log.write(self.revision.step, state, revision=self.revision.revision, commit=commit, error=error)


class Uploader:
    """Uploads the revisions of one registry. Which ones are waiting is read from the push logs."""

    def __init__(self, home: Home, registry: Registry, patience: Patience, *, with_state: bool = False) -> None:
        """`with_state`: whether pushes carry the training state, which counts for their deadline."""
        self.home = home
        self.registry = registry
        self.patience = patience
        self.with_state = with_state
        self._push: tuple[Waiting, PushAttempt] | None = None
        self._failures = 0
        self._failing_since = 0.0
        """Unix seconds."""
        self._failed_at = 0.0
        """Unix seconds."""
        self._retry_at = 0.0
        """Monotonic seconds."""
        self._shown: str | None = None
        """The fault printed last: an outage of days must not fill the log."""

    def advance(self) -> None:
        """Record the result of a push that has ended, and start the next one when it is due. Never blocks."""
        if self._push is not None:
            waiting, attempt = self._push
            outcome = attempt.outcome()
            if outcome is None:
                return
            self._push = None
            self._record(waiting, outcome)
        if time.monotonic() < self._retry_at and not self._is_asked_to_retry():
            return
        chosen = self._choose()
        if chosen is None:
            return
        if seconds := self._budget_seconds():
            self._wait(chosen, Outcome(kind=push_attempt.FAULT, error=TOO_MANY, retry_seconds=seconds))
            return
        if not self._failures:
            chosen.write(push_log.UPLOADING)
        self._push = chosen, self._start(chosen.revision)

    @property
    def is_pushing(self) -> bool:
        return self._push is not None

    def _budget_seconds(self) -> float:
        """Seconds until another commit is within the budget; 0 when it is now."""
        now = time.time()
        logs = (PushLog(run, self.registry.repo) for run in self.home.runs())
        pushed = [row["time"] for log in logs for row in log.rows().values() if row["state"] == push_log.PUSHED]
        recent = sorted(at for at in pushed if 0 <= now - at < HOUR)  # the clock may have been set back
        budget = self.patience.commits_per_hour
        return 0.0 if len(recent) < budget else recent[-budget] + HOUR - now

    def _is_asked_to_retry(self) -> bool:
        """Whether a person asked to try again since the newest failure."""
        return push_status.retry_requested_at(self.home, self.registry.repo) > self._failed_at

    def _start(self, revision: Revision) -> PushAttempt:
        num_bytes = revision_bytes(revision) + (state_bytes(self.home, revision) if self.with_state else 0)
        seconds = self.patience.push_seconds(num_bytes)
        return PushAttempt(
            self.registry.repo,
            revision.path,
            answer_seconds=self.patience.answer_seconds,
            max_seconds=seconds,
        )

    def _choose(self) -> Waiting | None:
        """The oldest waiting revision. Marks those of its run that wait between it and the newest as superseded."""
        waiting = self._waiting()
        if not waiting:
            return None
        of_run = sorted(
            (item for item in waiting if item.revision.is_of_same_run(waiting[0].revision)),
            key=lambda item: item.revision.step,
        )
        for item in of_run[1:-1]:
            item.write(push_log.SUPERSEDED)
        return of_run[0]

    def _waiting(self) -> list[Waiting]:
        """Every revision still to be uploaded, in the order of registration."""
        revisions = {revision.revision: revision for revision in self.registry.revisions()}
        order = {name: index for index, name in enumerate(reversed(revisions))}
        waiting = []
        for run in self.home.runs():
            log = PushLog(run, self.registry.repo)
            for step, row in log.rows().items():
                if row["state"] not in push_log.WAITING:
                    continue
                if row["revision"] in revisions:
                    waiting.append(Waiting(log, revisions[row["revision"]]))
                else:
                    gone = f"Revision {row['revision']} is no longer in the registry; nothing is left to push."
                    log.write(step, push_log.REFUSED, revision=row["revision"], error=gone, gone=True)
        return sorted(waiting, key=lambda item: order[item.revision.revision])

    def _record(self, waiting: Waiting, outcome: Outcome) -> None:
        """Write the outcome of a push to its push log."""
        if outcome.kind == push_attempt.FAULT:
            self._wait(waiting, outcome)
            return
        if self._failures:
            self._failures = 0
            push_status.write_retrying(self.home, self.registry.repo, None)
        if outcome.commit is not None:
            self.registry.note_commit(waiting.revision, outcome.commit)
        state = {push_attempt.PUSHED: push_log.PUSHED, push_attempt.SUPERSEDED: push_log.SUPERSEDED}
        waiting.write(state.get(outcome.kind, push_log.REFUSED), commit=outcome.commit, error=outcome.error)

    def _wait(self, waiting: Waiting, outcome: Outcome) -> None:
        """Delay the next attempt after a passing fault."""
        self._failures += 1
        self._failed_at = time.time()
        self._failing_since = self._failing_since if self._failures > 1 else self._failed_at
        delay = max(self.patience.retry_seconds(self._failures), outcome.retry_seconds or 0.0)
        self._retry_at = time.monotonic() + delay
        if self._shown != outcome.error:
            self._shown = outcome.error
            print(outcome.error, file=sys.stderr)
        waiting.write(push_log.RETRYING, error=outcome.error)
        retrying = Retrying(
            run=waiting.revision.run,
            step=waiting.revision.step,
            attempts=self._failures,
            since=self._failing_since,
            next_at=self._failed_at + delay,
            error=outcome.error or "",
        )
        push_status.write_retrying(self.home, self.registry.repo, retrying)


def revision_bytes(revision: Revision) -> int:
    """Size of the revision's files."""
    return sum(path.stat().st_size for path in revision.path.rglob("*") if path.is_file())
