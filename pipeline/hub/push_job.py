"""The push of a corpus as a job: `python -m pipeline.hub.push_job PUSH_FOLDER`, settings from the environment.

A stop and a kill end it at once: what is on the Hub is whole at every instant, and what was uploaded is not sent again by
the next push.
"""

from __future__ import annotations

import os
import sys
import threading
import traceback
from pathlib import Path

from pipeline.core.credentials import hold
from pipeline.core.errors import InputError, PipelineError
from pipeline.core.job_process import Job
from pipeline.core.paths import PushFolder
from pipeline.core.settings import Settings
from pipeline.hub.dataset import Pushed, push_corpus
from pipeline.hub.token import redact

LOOK_EVERY_SECONDS = 0.2


def main(arguments: list[str]) -> int:
    try:
        if len(arguments) != 1:
            raise InputError(f"arguments are {arguments!r}; give one folder: python -m pipeline.hub.push_job FOLDER.")
        with Job(PushFolder(Path(arguments[0]).absolute())) as job:
            _run(job, Settings.from_environment())
    except PipelineError as error:
        print(redact(str(error)), file=sys.stderr)
        return error.exit_status
    return 0


def _run(job: Job, settings: Settings) -> None:
    push = _PushThread(settings, job.folder.id, job.request)
    push.start()
    told = None
    while push.is_alive():
        if job.stop_requested:
            job.write(state="stopped")
            return
        if push.message != told:
            told = push.message
            print(told, flush=True)
            job.write(message=told)
        push.join(LOOK_EVERY_SECONDS)
    if push.error is not None:
        raise _told(push.error)
    assert push.pushed is not None, "it ended, and without an error"
    print(push.pushed, flush=True)
    job.write(state="finished", pushed=push.pushed.to_dict())


class _PushThread(threading.Thread):
    """The push itself, which waits for the Hub; what becomes of it is read by the main thread, the one that writes."""

    def __init__(self, settings: Settings, corpus: str, asked: dict[str, object]) -> None:
        super().__init__(name=f"push-{corpus}", daemon=True)
        self.settings = settings
        self.corpus = corpus
        self.asked = asked
        self.message: str | None = None
        self.pushed: Pushed | None = None
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            repo, private = str(self.asked.get("repo", "")), bool(self.asked.get("private"))
            self.pushed = push_corpus(self.settings, self.corpus, repo, private=private, say=self._say)
        except BaseException as error:  # a panic in a Rust extension (hf_xet) is no Exception
            self.error = error

    def _say(self, message: str) -> None:
        self.message = message


def _told(error: BaseException) -> PipelineError:
    """The error for people. Any other is our mistake: its traceback, which may quote a header, goes to the log."""
    if isinstance(error, PipelineError):
        return error
    print(redact("".join(traceback.format_exception(error))), file=sys.stderr)
    return PipelineError(redact(f"{type(error).__name__}: {error} (traceback in {PushFolder.log_name})"))


if __name__ == "__main__":
    hold()
    status = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(status)  # without waiting for uploads that a stop has left behind
