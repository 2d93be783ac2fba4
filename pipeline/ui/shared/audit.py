"""The audit log, `home/audit.jsonl`: one JSON line per action of an owner, and for wrong keys. Never a key or a token.

A line is written before the action starts, so it reports the request, whether or not the action then succeeded.
"""

from __future__ import annotations

import contextlib
import sys
from datetime import UTC, datetime
from threading import Lock

from pipeline.core.atomic_io import append_line
from pipeline.core.paths import Home
from pipeline.ui.shared.texts import t

MAX_BYTES = 5_000_000
"""Size at which the log is rotated; one older file is kept."""
MAX_TARGET_CHARACTERS = 200


class Audit:
    """Appends to the log of one home. The page is its only writer."""

    def __init__(self, home: Home, max_bytes: int = MAX_BYTES) -> None:
        self._path = home.audit
        self._older = home.older_audit
        self._max_bytes = max_bytes
        self._lock = Lock()

    def write(self, action: str, *, target: object = "", address: str = "", known_by: str = "", **more: object) -> None:
        """Append one line. `known_by`: open, cookie, header or key; empty for wrong keys.

        A failed write does not stop the action: on a full disk the owner must still be able to delete.
        """
        row = {
            "time": now(),
            "action": action,
            "target": str(target)[:MAX_TARGET_CHARACTERS],
            "address": address,
            "known_by": known_by,
            **more,
        }
        try:
            with self._lock:
                self._rotate()
                append_line(self._path, row)
        except OSError as error:
            print(t("audit.failed", path=self._path, error=error), file=sys.stderr, flush=True)

    def _rotate(self) -> None:
        """Rename a full log, and create the log if missing, readable only by the user that runs the page."""
        with contextlib.suppress(FileNotFoundError):
            if self._path.stat().st_size >= self._max_bytes:
                self._path.replace(self._older)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.touch(mode=0o600)


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
