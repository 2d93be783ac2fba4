"""The push state of each checkpoint of one run: pushes.jsonl, written only by the publisher.

The newest row of a step counts. States:

registered   in the registry on this disk; with a Hub repo, waiting to be uploaded
uploading    being uploaded to the Hub
retrying     a passing fault; retried automatically
pushed       on the Hub
superseded   not pushed to the Hub: a later step of the run is pushed instead
refused      cannot be pushed, for the recorded reason; not retried automatically
"""

from __future__ import annotations

import time
from typing import Any

from pipeline.core import atomic_io
from pipeline.core.paths import RunFolder
from pipeline.hub.token import redact

REGISTERED, UPLOADING, RETRYING = "registered", "uploading", "retrying"
PUSHED, SUPERSEDED, REFUSED = "pushed", "superseded", "refused"
WAITING = (REGISTERED, UPLOADING, RETRYING)
"""States that still need an upload when there is a Hub repo."""


def is_whole(row: dict[str, Any]) -> bool:
    """Whether the row has what its readers rely on."""
    is_named = all(isinstance(row.get(name), str) for name in ("repo", "state"))
    is_known = row.get("revision") is None or isinstance(row["revision"], str)
    return is_named and is_known and type(row.get("step")) is int and isinstance(row.get("time", 0.0), (int, float))


class PushLog:
    """One run's pushes to one repo. Rows of other repos stay in the file and are ignored."""

    def __init__(self, run: RunFolder, repo: str) -> None:
        self.run = run
        self.repo = repo

    def rows(self) -> dict[int, dict[str, Any]]:
        """The newest row of each step. Reads the file only when it has changed. Rows that were edited by hand so that
        they name no step, state or revision are left out.
        """
        rows = atomic_io.cached_lines(self.run.pushes)
        whole = (
            {"time": 0.0, "revision": None, **row} for row in rows if row.get("repo") == self.repo and is_whole(row)
        )
        return {row["step"]: row for row in whole}

    def write(self, step: int, state: str, *, error: str | None = None, **facts: Any) -> None:
        """Append a row unless it repeats the newest one, so that a Hub outage of days does not fill the disk.

        `facts`: revision and commit, where known; `seen`, the time a damaged checkpoint's manifest was saved; `gone`,
        when there is no such revision any more.
        """
        facts = {"state": state, "error": redact(error) if error else None, "commit": None, **facts}
        newest = self.rows().get(step, {})
        if any(newest.get(name, "") != value for name, value in facts.items()):
            atomic_io.append_line(self.run.pushes, {"time": time.time(), "repo": self.repo, "step": step, **facts})
