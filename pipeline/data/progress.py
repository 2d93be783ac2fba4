"""Reports progress: status.json a few times a second, a log line now and then. Notices requests to stop."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from pipeline.core.job_process import JobProcess

WRITE_EVERY_SECONDS = 0.5
PRINT_EVERY_SECONDS = 5.0


class Stopped(Exception):
    """The job was asked to stop; complete outputs stay."""


class Progress:
    """Call it with the current facts between steps of work."""

    def __init__(self, job: JobProcess) -> None:
        self._job = job
        self._stage = ""
        self._started = self._stage_started = time.monotonic()
        self._written = self._printed = 0.0

    def begin(self, stage: str) -> None:
        self._stage, self._stage_started = stage, time.monotonic()
        self._write({"stage": stage, "progress": None})
        print(f"{datetime.now(UTC):%H:%M:%S} {stage} begins", flush=True)

    def end(self, **facts: Any) -> None:
        """Show the final `facts`, even if others were shown a moment ago."""
        self._write(facts)
        self._print(facts)

    @property
    def stop_requested(self) -> bool:
        return self._job.stop_requested

    def check(self) -> None:
        """Raises Stopped when the job was asked to stop."""
        if self._job.stop_requested:
            raise Stopped

    def __call__(self, **facts: Any) -> None:
        """Show `facts`, unless others were shown a moment ago. Raises Stopped when the job was asked to stop."""
        self.check()
        self.show(**facts)

    def show(self, **facts: Any) -> None:
        """Show `facts`, unless others were shown a moment ago."""
        now = time.monotonic()
        if now - self._written >= WRITE_EVERY_SECONDS:
            self._write(facts)
        if now - self._printed >= PRINT_EVERY_SECONDS:
            self._print(facts)

    def _write(self, facts: dict[str, Any]) -> None:
        self._written = time.monotonic()
        self._job.write(
            **facts,
            seconds=round(self._written - self._started, 3),
            stage_seconds=round(self._written - self._stage_started, 3),
        )

    def _print(self, facts: dict[str, Any]) -> None:
        self._printed = time.monotonic()
        if shown := [_words(name, value) for name, value in facts.items() if value is not None and name != "stage"]:
            print(f"{datetime.now(UTC):%H:%M:%S} {self._stage}: {', '.join(shown)}", flush=True)


def _words(name: str, value: Any) -> str:
    return f"{value:.0%} done" if name == "progress" else f"{value:,} {name}"
