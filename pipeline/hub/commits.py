"""Formats and parses the title and message of a push's commit on the Hub: they name its run, step and revision."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

TITLE = re.compile(
    r"Training in progress step (?P<step>\d{1,12})(?: \(run (?P<run>[a-z0-9-]+)\)|: run (?P<last>[a-z0-9-]+) ended)"
)
PUBLIC_HUB = "https://huggingface.co"
LOSS = re.compile(
    r"^(?:Validation loss (?P<loss>\d{1,9}\.\d{1,9})\b|Not evaluated)(?: on corpus (?P<corpus>\S{1,100})$)?",
    re.MULTILINE,
)
MESSAGE = re.compile(r"Revision ([0-9a-f]{12})\b(?: of run ([0-9a-f]{16})\b)?")


@dataclass(frozen=True)
class Push:
    """What one of our commits contains."""

    commit: str
    run: str
    step: int
    revision: str | None
    """None when somebody rewrote the message."""
    run_uid: str | None = None
    """As `Revision.run_uid`."""
    eval_loss: float | None = None
    """As `Revision.eval_loss`."""
    corpus: str | None = None
    """As `Revision.corpus`; None for a commit that is older than this field."""

    def is_of_run(self, run: str, run_uid: str | None) -> bool:
        """Whether it belongs to that run. Compares the uid too: a name may be reused after this disk was wiped."""
        return (self.run, self.run_uid) == (run, run_uid)


def title(*, run: str, step: int, final: bool) -> str:
    """The commit title; the last commit of a run also says that the run has ended."""
    return f"Training in progress step {step}" + (f": run {run} ended" if final else f" (run {run})")


def message(revision: str, run_uid: str | None, eval_loss: float | None = None, corpus: str | None = None) -> str:
    named = f"Revision {revision}" + (f" of run {run_uid}" if run_uid else "")
    measured = "Not evaluated" if eval_loss is None else f"Validation loss {eval_loss:.6f}"
    return f"{named}\n\n{measured}" + (f" on corpus {corpus}" if corpus else "")


def commit_url(repo: str, commit: str) -> str:
    """The page of a commit of a model repo."""
    endpoint = os.environ.get("HF_ENDPOINT") or PUBLIC_HUB
    return f"{endpoint.rstrip('/')}/{repo}/commit/{commit}"


def read_push(commit: str, title: object, message: object) -> Push | None:
    """The push that a commit's title and message describe; None for a commit that is not ours. The Hub's values may be
    of any type.
    """
    found = TITLE.fullmatch(title.strip()) if isinstance(title, str) else None
    if not found:
        return None
    named = MESSAGE.search(message) if isinstance(message, str) else None
    revision, run_uid = named.groups() if named else (None, None)
    loss = LOSS.search(message) if isinstance(message, str) else None
    eval_loss = float(loss["loss"]) if loss and loss["loss"] else None
    corpus = loss["corpus"] if loss else None
    return Push(commit, found["run"] or found["last"], int(found["step"]), revision, run_uid, eval_loss, corpus)
