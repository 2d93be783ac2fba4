"""What became of each checkpoint of one run: pushes.jsonl, written by the publisher alone; the newest row of a step counts.

registered   in the registry on this disk; with a Hub repo it still waits
uploading    on its way to the Hub
retrying     the Hub could not take it yet; tried again by itself
pushed       on the Hub
superseded   left out on the Hub: a later step of the run went instead
refused      cannot be pushed, for the reason given; not tried again by itself
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
"""States of what has still to go to the Hub, when there is one."""


class Ledger:
    """One run's pushes to one repo. Rows of other repos stay in the file and count for nothing here."""

    def __init__(self, run: RunFolder, repo: str) -> None:
        self.run = run
        self.repo = repo

    def rows(self) -> dict[int, dict[str, Any]]:
        """The newest row of each step. Reads the file only when it has changed."""
        return {row["step"]: row for row in atomic_io.cached_lines(self.run.pushes) if row.get("repo") == self.repo}

    def write(self, step: int, state: str, *, error: str | None = None, **facts: Any) -> None:
        """Append a row, unless it would only repeat the newest one: a Hub that is away for days fills no disk.

        `facts`: revision and commit, as far as they are known, and which damaged manifest was `seen`.
        """
        facts = {"state": state, "error": redact(error) if error else None, "commit": None, **facts}
        newest = self.rows().get(step, {})
        if any(newest.get(name, "") != value for name, value in facts.items()):
            atomic_io.append_line(self.run.pushes, {"time": time.time(), "repo": self.repo, "step": step, **facts})
