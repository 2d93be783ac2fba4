"""Pushes the gallery to the model repo, and to its own dataset, when it has changed, by a commit of its own.

gallery-<repo>.json    written by the publisher: what of the gallery is on the Hub, and when it was tried last
"""

from __future__ import annotations

import sys
import time
from typing import Any

from pipeline.core import atomic_io
from pipeline.core.errors import DamagedError
from pipeline.core.paths import Home
from pipeline.hub import push_attempt
from pipeline.hub.gallery_file import digest_of, gallery_file, gallery_stamp
from pipeline.hub.push_attempt import PushAttempt

MIN_SECONDS = 600.0
"""Between two pushes of a gallery that changes all the time; also after a refusal."""
FAULT_SECONDS = 30.0
"""After a fault that may pass."""


def is_due(home: Home, repo: str) -> bool:
    """Whether the gallery has changed since it was pushed, and its turn has come. Cheap: a stat and a small file."""
    marker = atomic_io.readable_json(home.pushed_gallery(repo))
    tried_at = marker.get("tried_at")
    seconds = FAULT_SECONDS if marker.get("met_fault") else MIN_SECONDS
    waits = isinstance(tried_at, (int, float)) and 0 <= time.time() - tried_at < seconds
    return not waits and gallery_stamp(home) not in (None, marker.get("stamp"))


class GalleryPush:
    """The push of one home's gallery to one repo; `datasets/OWNER/NAME` is a dataset, which gets what is approved. For
    the publisher only.
    """

    def __init__(self, home: Home, repo: str, *, answer_seconds: float, max_seconds: float) -> None:
        self._home = home
        self._repo = repo
        self._answer_seconds = answer_seconds
        self._max_seconds = max_seconds
        self._running: tuple[PushAttempt, dict[str, Any]] | None = None

    @property
    def is_pushing(self) -> bool:
        return self._running is not None

    def advance(self, *, may_start: bool) -> None:
        """Record the result of a push that has ended; start one when it is due. Never blocks. `may_start`: whether no
        other push is under way, as one of two commits at a time would fail.
        """
        if self._running is not None:
            attempt, facts = self._running
            outcome = attempt.outcome()
            if outcome is None:
                return
            self._running = None
            is_pushed = outcome.kind == push_attempt.PUSHED
            if not is_pushed:
                print(f"The gallery is not pushed: {outcome.error}", file=sys.stderr)
            # A push into a repo that this disk has never seen first takes what is there.
            is_same = gallery_stamp(self._home) == facts["stamp"]
            self._note(facts if is_pushed and is_same else {}, met_fault=outcome.kind == push_attempt.FAULT)
        elif may_start and is_due(self._home, self._repo):
            self._start()

    def _start(self) -> None:
        stamp = gallery_stamp(self._home)  # before the files are read: a later change is pushed again
        try:
            digest = digest_of(gallery_file(self._home, only_approved=self._repo.startswith("datasets/")))
        except DamagedError as error:
            print(f"The gallery is not pushed: {error}", file=sys.stderr)
            self._note({})
            return
        facts = {"stamp": stamp, "sha256": digest}
        if digest == atomic_io.readable_json(self._home.pushed_gallery(self._repo)).get("sha256", digest_of(b"")):
            self._note(facts)
            return
        # What is there is unknown until the outcome is: this process may be killed, and the gallery be as before.
        path = self._home.pushed_gallery(self._repo)
        atomic_io.write_json(path, {**atomic_io.readable_json(path), "stamp": None, "sha256": None})
        attempt = PushAttempt(
            self._repo, self._home.gallery, answer_seconds=self._answer_seconds, max_seconds=self._max_seconds
        )
        self._running = attempt, facts

    def _note(self, facts: dict[str, Any], *, met_fault: bool = False) -> None:
        path = self._home.pushed_gallery(self._repo)
        tried = {"tried_at": time.time(), "met_fault": met_fault}
        atomic_io.write_json(path, {**atomic_io.readable_json(path), **facts, **tried})
