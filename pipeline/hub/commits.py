"""A push's commit on the Hub: its title and message say which run, step and revision it holds; written and read here."""

from __future__ import annotations

import re
from dataclasses import dataclass

TITLE = re.compile(
    r"Training in progress step (?P<step>\d+)(?: \(run (?P<run>[a-z0-9-]+)\)|: run (?P<last>[a-z0-9-]+) ended)"
)
MESSAGE = re.compile(r"Revision ([0-9a-f]{12})\b")


@dataclass(frozen=True)
class Push:
    """What a commit of ours holds."""

    commit: str
    run: str
    step: int
    revision: str | None
    """None when somebody rewrote the message."""


def title(*, run: str, step: int, final: bool) -> str:
    """The last commit of a run also says that the run has ended."""
    return f"Training in progress step {step}" + (f": run {run} ended" if final else f" (run {run})")


def message(revision: str) -> str:
    return f"Revision {revision}"


def read_push(commit: str, title: str, message: str | None) -> Push | None:
    """The push that a commit's title and message tell of; None for a commit that is none of ours."""
    found = TITLE.fullmatch(title.strip())
    if not found:
        return None
    named = MESSAGE.search(message or "")
    return Push(commit, found["run"] or found["last"], int(found["step"]), named[1] if named else None)
