"""One attempt to push one revision, the gallery or the card, as a process of its own that the publisher ends at a deadline.

`python -m pipeline.hub.push_attempt REPO FOLDER ANSWER_SECONDS`. It reads the Hub token and the settings of this
instance from its environment, and writes its outcome as one JSON object to standard output. A thread could not be ended: the client and
hf_xet wait without a limit while the Hub sends a byte now and then. The process ends itself when the publisher is gone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.artifacts.checkpoint import PROVENANCE
from pipeline.artifacts.revision import Revision
from pipeline.core import atomic_io
from pipeline.core.credentials import full_environment, protect_secrets
from pipeline.core.environment import python_path
from pipeline.core.paths import Home
from pipeline.core.settings import Settings
from pipeline.hub import gallery_dataset, restore
from pipeline.hub.archive import open_archive
from pipeline.hub.background import for_people
from pipeline.hub.client import PassingFault
from pipeline.hub.model_repo import ModelRepo

COMMAND = (sys.executable, "-P", "-m", "pipeline.hub.push_attempt")
"""-P: a folder named `pipeline` in the working directory must not shadow ours."""
LOG = "publisher.log"
PUSHED, SUPERSEDED, FAULT, REFUSED = "pushed", "superseded", "fault", "refused"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How an attempt ended."""

    kind: str
    """PUSHED; SUPERSEDED by a later step on the Hub; FAULT, which may pass; REFUSED, until somebody changes something."""
    commit: str | None = None
    """The commit that contains the revision, when it is pushed."""
    error: str | None = None
    """For people, when it is not pushed."""
    retry_seconds: float | None = None
    """How long the Hub asks to wait, if it does."""


class PushAttempt:
    """A running attempt."""

    def __init__(self, repo: str, folder: Path, *, answer_seconds: float, max_seconds: float) -> None:
        """`folder`: that of a revision, the gallery, or the evaluations for the card. Ends the attempt after `max_seconds`; `answer_seconds` is the time limit for each response of the Hub."""
        environment = full_environment()
        self._repo = repo
        self._max_seconds = max_seconds
        self._process = subprocess.Popen(
            [*COMMAND, repo, str(folder), str(answer_seconds)],
            stdin=subprocess.PIPE,  # its end tells the process that this one is gone
            stdout=subprocess.PIPE,
            env={**environment, "PYTHONPATH": python_path(environment)},
        )
        self._ends_at = time.monotonic() + max_seconds

    def outcome(self) -> Outcome | None:
        """None while the attempt runs. Ends it at its deadline."""
        if self._process.poll() is None:
            if time.monotonic() < self._ends_at:
                return None
            self.end()
            return Outcome(
                kind=FAULT,
                error=f"The push to {self._repo} took more than {self._max_seconds:.0f} s; it is tried again by itself.",
            )
        assert self._process.stdout is not None
        answer = self._process.stdout.read()
        self.end()
        try:
            return Outcome(**json.loads(answer))
        except (ValueError, TypeError):  # killed, or out of memory
            code = self._process.returncode
            return Outcome(
                kind=FAULT, error=f"The process of the push to {self._repo} ended with status {code} ({LOG})."
            )

    def end(self) -> None:
        """End it now, whatever it does; the next attempt finds the commit if one was made."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()


def main(arguments: list[str]) -> int:
    repo, folder, answer_seconds = arguments
    protect_secrets()
    threading.Thread(target=_end_with_the_publisher, daemon=True).start()
    print(
        json.dumps(asdict(attempt(repo, Path(folder), float(answer_seconds)))),
        flush=True,
    )
    return 0


def attempt(repo: str, folder: Path, answer_seconds: float) -> Outcome:
    """Push the revision in `folder`, or the gallery. An error that is a bug goes with its traceback to standard error, a log."""
    try:
        settings = Settings.from_environment()
        home = Home(settings.home)
        if repo.startswith(gallery_dataset.PREFIX):
            return Outcome(kind=PUSHED, commit=_push_dataset(settings, home, answer_seconds))
        model_repo = ModelRepo(
            repo,
            answer_seconds=answer_seconds,
            takes_over=settings.hub_take_over,
            private=settings.hub_private,
            hourly_price=settings.hourly_price,
        )
        if folder == home.gallery:
            # The gallery of a wiped disk must not replace that of the Hub, which a disk may also have been unable to see.
            restore.restore_runs(settings)
            gallery_commit = model_repo.push_gallery(home)
            if restore.is_due(settings):  # there was no repo
                restore.note_restored(home, repo)
            return Outcome(kind=PUSHED, commit=gallery_commit)
        if folder == home.evaluations:
            return Outcome(kind=PUSHED, commit=model_repo.push_card(home))
        revision = Revision.from_facts(atomic_io.read_json(folder / PROVENANCE) or {}, commit=None, path=folder)
        with open_archive(home, revision, with_state=settings.hub_state) as archive:
            commit = model_repo.push(revision, archive)
    except PassingFault as fault:
        return Outcome(kind=FAULT, error=str(fault), retry_seconds=fault.retry_seconds)
    except BaseException as error:  # a panic in a Rust extension (hf_xet) is not an Exception
        return Outcome(kind=REFUSED, error=str(for_people(error, LOG)))
    return Outcome(kind=SUPERSEDED if commit is None else PUSHED, commit=commit)


def _push_dataset(settings: Settings, home: Home, answer_seconds: float) -> str:
    """As for the model repo, a wiped disk takes first what is there."""
    repo = settings.gallery_repo
    assert repo is not None, "the publisher has it from the same environment"
    gallery_dataset.restore_dataset(settings)
    commit = gallery_dataset.push_dataset(home, repo, private=settings.hub_private, answer_seconds=answer_seconds)
    gallery_dataset.note_restored(home, repo)
    return commit


def _end_with_the_publisher() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(status)  # does not wait for threads that still upload
