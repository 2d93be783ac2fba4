"""Runs work that waits for the Hub in a thread, and turns its exception into an error for people."""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Callable
from typing import Generic, TypeVar

from pipeline.core.errors import PipelineError
from pipeline.core.text import without_errno
from pipeline.hub.token import redact

T = TypeVar("T")


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
