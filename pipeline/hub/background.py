"""Runs work that waits for the Hub in a thread, alone or as a job, and turns its exception into an error for people."""

from __future__ import annotations

import os
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Generic, NoReturn, TypeVar

from pipeline.core.credentials import protect_secrets
from pipeline.core.errors import InputError, PipelineError
from pipeline.core.job_process import JobProcess
from pipeline.core.paths import JobFolder
from pipeline.core.text import without_errno
from pipeline.hub.token import redact

T = TypeVar("T")
Say = Callable[[str], None]
LOOK_EVERY_SECONDS = 0.2


class Background(threading.Thread, Generic[T]):
    """Runs `work` once, then sets `result` or `error`. A daemon: process exit does not wait for the Hub."""

    def __init__(self, name: str, work: Callable[[], T]) -> None:
        super().__init__(name=name, daemon=True)
        self.result: T | None = None
        self.error: BaseException | None = None
        self._work = work

    def run(self) -> None:
        try:
            self.result = self._work()
        except BaseException as error:  # a panic in a Rust extension (hf_xet) is not an Exception
            self.error = error


def for_people(error: BaseException, log: str) -> PipelineError:
    """`error` itself if it is a PipelineError, else a PipelineError that names it. Any other exception is a bug: its
    traceback goes, without the token, to standard error, which is redirected to the file `log`.
    """
    if isinstance(error, PipelineError):
        return error
    print(redact("".join(traceback.format_exception(error))), file=sys.stderr)
    return PipelineError(redact(f"{type(error).__name__}: {without_errno(str(error))} (traceback in {log})"))


def run_in_job(job: JobProcess, work: Callable[[Say], T]) -> T | None:
    """The result of `work`; None when the job is asked to stop before, which it then writes. The messages that `work`
    says go to the log and the status. Raises its error, for people.
    """
    messages: list[str] = []
    thread = Background(job.folder.id, lambda: work(messages.append))
    thread.start()
    last_message = None
    while thread.is_alive():
        if job.stop_requested:
            job.write(state="stopped")
            return None
        if messages and messages[-1] != last_message:
            last_message = messages[-1]
            print(last_message, flush=True)
            job.write(message=last_message)
        thread.join(LOOK_EVERY_SECONDS)
    if thread.error is not None:
        raise for_people(thread.error, job.folder.log.name)
    assert thread.result is not None, "the thread ended without an error"
    return thread.result


def main(
    module: str, arguments: list[str], folder: Callable[[Path], JobFolder], run: Callable[[JobProcess], None]
) -> NoReturn:
    """The process of a job that waits for the Hub: `python -m MODULE FOLDER`. Does not return: it does not wait for
    threads that a stop leaves running.
    """
    protect_secrets()
    status = 0
    try:
        if len(arguments) != 1:
            raise InputError(f"arguments are {arguments!r}; give one folder: python -m {module} FOLDER.")
        with JobProcess(folder(Path(arguments[0]).absolute())) as job:
            run(job)
    except PipelineError as error:
        print(redact(str(error)), file=sys.stderr, flush=True)
        status = error.exit_status
    sys.stdout.flush()
    os._exit(status)
