"""Brings revisions to the Hub: oldest first, of several that wait the middle ones left out, one push at a time.

A push runs in a thread, so that registering the next checkpoints never waits for the Hub: training deletes them.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from dataclasses import dataclass

from pipeline.artifacts.revision import Registry, Revision
from pipeline.core.errors import PipelineError
from pipeline.core.paths import Home
from pipeline.hub import push_log
from pipeline.hub.client import PassingFault
from pipeline.hub.model_repo import Remote
from pipeline.hub.push_log import Ledger
from pipeline.hub.token import redact


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long the publisher waits, and for what; tests are less patient."""

    poll_seconds: float = 1.0
    """Between two looks at the runs."""
    idle_seconds: float = 2.0
    """Without anything to publish and without a running run, before it leaves."""
    first_retry_seconds: float = 1.0
    """After the first passing fault; doubled after each further one."""
    longest_retry_seconds: float = 60.0
    answer_seconds: float = 60.0
    """For each answer of the Hub."""

    def retry_seconds(self, failures: int) -> float:
        """How long to wait after so many failures in a row."""
        return min(self.longest_retry_seconds, self.first_retry_seconds * 2 ** min(failures - 1, 30))


@dataclass(frozen=True)
class Waiting:
    """One revision on its way, with the ledger that tells of it."""

    book: Ledger
    revision: Revision

    def write(self, state: str, *, commit: str | None = None, error: str | None = None) -> None:
        self.book.write(self.revision.step, state, revision=self.revision.revision, commit=commit, error=error)


class Mirror:
    """The Hub's side of one registry. Without state of its own: the ledgers say what waits."""

    def __init__(self, home: Home, registry: Registry, remote: Remote, patience: Patience) -> None:
        self.home = home
        self.registry = registry
        self.remote = remote
        self.patience = patience
        self._push: _PushThread | None = None
        self._failures = 0
        self._not_before = 0.0
        """Monotonic seconds."""

    def advance(self) -> None:
        """Take note of a push that has ended, and begin the next one when it is time. Never waits."""
        if self._push is not None:
            if self._push.is_alive():
                return
            self._conclude(self._push)
            self._push = None
        if time.monotonic() < self._not_before:
            return
        if waiting := self._choose():
            self._push = _PushThread(self.remote, waiting)
            if not self._failures:
                waiting.write(push_log.UPLOADING)
            self._push.start()

    def _choose(self) -> Waiting | None:
        """The oldest that waits. Of its run, all that wait between it and the newest are left out from now on."""
        waiting = self._waiting()
        if not waiting:
            return None
        of_run = sorted(
            (item for item in waiting if item.revision.run == waiting[0].revision.run), key=lambda i: i.revision.step
        )
        for item in of_run[1:-1]:
            item.write(push_log.SUPERSEDED)
        return of_run[0]

    def _waiting(self) -> list[Waiting]:
        """Everything that has still to go to the Hub, in the order it was registered."""
        revisions = {revision.revision: revision for revision in self.registry.revisions()}
        order = {name: place for place, name in enumerate(reversed(revisions))}
        waiting = []
        for run in self.home.runs():
            book = Ledger(run, self.registry.repo)
            for step, row in book.rows().items():
                if row["state"] not in push_log.WAITING:
                    continue
                if row["revision"] in revisions:
                    waiting.append(Waiting(book, revisions[row["revision"]]))
                else:
                    gone = f"Revision {row['revision']} is no longer in the registry; nothing is left to push."
                    book.write(step, push_log.REFUSED, revision=row["revision"], error=gone)
        return sorted(waiting, key=lambda item: order[item.revision.revision])

    def _conclude(self, push: _PushThread) -> None:
        """Write down how a push ended."""
        if isinstance(push.error, PassingFault):
            self._failures += 1
            self._not_before = time.monotonic() + self.patience.retry_seconds(self._failures)
            push.waiting.write(push_log.RETRYING, error=str(push.error))
            return
        self._failures = 0
        if push.error is None:
            if push.commit is None:
                push.waiting.write(push_log.SUPERSEDED)
                return
            self.registry.note_commit(push.waiting.revision, push.commit)
            push.waiting.write(push_log.PUSHED, commit=push.commit)
        else:
            push.waiting.write(push_log.REFUSED, error=_told(push.error))


class _PushThread(threading.Thread):
    """One push. A daemon: ending the publisher does not wait for the Hub."""

    def __init__(self, remote: Remote, waiting: Waiting) -> None:
        super().__init__(name=f"push-{waiting.revision.revision}", daemon=True)
        self.remote = remote
        self.waiting = waiting
        self.commit: str | None = None
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.commit = self.remote.push(self.waiting.revision)
        except BaseException as error:  # a panic in a Rust extension (hf_xet) is no Exception
            self.error = error  # the publisher's own thread writes it down


def _told(error: BaseException) -> str:
    """The sentence of an error for people. Any other is our mistake: it ends this push, its traceback goes to the log."""
    if isinstance(error, PipelineError):
        return str(error)
    print(redact("".join(traceback.format_exception(error))), file=sys.stderr)
    return f"{type(error).__name__}: {error} (traceback in publisher.log)"
