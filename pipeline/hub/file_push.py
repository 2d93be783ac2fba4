"""Pushes a file of the model repo by a commit of its own when what it says has changed: the gallery, or the card.

<name>-<repo>.json    written by the publisher: what of it is on the Hub, and when it was tried last
"""

from __future__ import annotations

import sys
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from pipeline.core import atomic_io
from pipeline.core.errors import PipelineError
from pipeline.hub import push_attempt
from pipeline.hub.push_attempt import PushAttempt

MIN_SECONDS = 600.0
"""Between two pushes of what changes all the time; also after a refusal."""
FAULT_SECONDS = 30.0
"""After a fault that may pass."""


class Content(ABC):
    """What is pushed."""

    name: str
    """As messages call it."""
    marker: Path
    folder: Path
    """That tells the attempt what to push."""

    @abstractmethod
    def stamp(self) -> object:
        """Differs when the content may have changed; None when there is none. JSON. Cheap."""

    @abstractmethod
    def digest(self) -> str:
        """Of the content. Raises DamagedError when it cannot be read."""

    digest_of_nothing = ""

    @property
    def is_due(self) -> bool:
        """Whether it has changed since it was pushed, and its turn has come. Cheap: a stat and a small file."""
        marker = atomic_io.readable_json(self.marker)
        tried_at = marker.get("tried_at")
        seconds = FAULT_SECONDS if marker.get("met_fault") else MIN_SECONDS
        waits = isinstance(tried_at, (int, float)) and 0 <= time.time() - tried_at < seconds
        return not waits and self.stamp() not in (None, marker.get("stamp"))


class FilePush:
    """The pushes of one content to one repo. For the publisher only."""

    def __init__(self, content: Content, repo: str, *, answer_seconds: float, max_seconds: float) -> None:
        self._content = content
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
                print(f"{self._content.name} is not pushed: {outcome.error}", file=sys.stderr)
            # A push into a repo that this disk has never seen first takes what is there.
            is_same = self._content.stamp() == facts["stamp"]
            self._note(facts if is_pushed and is_same else {}, met_fault=outcome.kind == push_attempt.FAULT)
        elif may_start and self._content.is_due:
            self._start()

    def _start(self) -> None:
        stamp = self._content.stamp()  # before the files are read: a later change is pushed again
        try:
            digest = self._content.digest()
        except (PipelineError, OSError, ValueError) as error:  # somebody else may have written what it reads
            print(f"{self._content.name} is not pushed: {error}", file=sys.stderr)
            self._note({})
            return
        facts = {"stamp": stamp, "sha256": digest}
        if digest == atomic_io.readable_json(self._content.marker).get("sha256", self._content.digest_of_nothing):
            self._note(facts)
            return
        # What is there is unknown until the outcome is: this process may be killed, and the content be as before.
        marker = self._content.marker
        atomic_io.write_json(marker, {**atomic_io.readable_json(marker), "stamp": None, "sha256": None})
        attempt = PushAttempt(
            self._repo, self._content.folder, answer_seconds=self._answer_seconds, max_seconds=self._max_seconds
        )
        self._running = attempt, facts

    def _note(self, facts: dict[str, Any], *, met_fault: bool = False) -> None:
        tried = {"tried_at": time.time(), "met_fault": met_fault}
        atomic_io.write_json(self._content.marker, {**atomic_io.readable_json(self._content.marker), **facts, **tried})
