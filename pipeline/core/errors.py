"""Errors whose message is shown to people: one sentence with the name, the value and the remedy.

Any other exception is a bug of this project and keeps its traceback.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


class PipelineError(Exception):
    """An error that a person can understand; the page and the command line show its message unchanged."""

    exit_status = 1
    """Exit status of the command line: 2 when the caller can fix the cause, 1 otherwise."""


class InputError(PipelineError):
    """The request is invalid: an unknown name, a value out of range, an empty prompt."""

    exit_status = 2

    def __init__(self, message: str, *, name: str = "") -> None:
        super().__init__(message)
        self.name = name
        """The setting that it concerns, as the command line writes it; empty when it concerns none, or several."""


class FieldError(InputError):
    """The value of one setting is invalid. The page names the setting by the label of its field."""

    def __init__(self, name: str, value: object, remedy: str) -> None:
        super().__init__(f"{name} is {value!r}; {remedy}.", name=name)
        self.value = value
        self.remedy = remedy
        """What to do, without a period."""

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.name, self.value, self.remedy)


class BusyError(InputError):
    """Something else is using the requested resource; the message names it."""


class DamagedError(PipelineError):
    """A file that this application wrote is damaged; the message names it and says what to use instead."""


class DivergedError(PipelineError):
    """A run's loss or weights are no longer finite."""

    def __init__(self, message: str, *, step: int, reason: str) -> None:
        super().__init__(message)
        self.step = step
        """Optimizer step at which this was detected."""
        self.reason = reason


class ResourceError(PipelineError):
    """This machine ran out of memory or disk."""


class HubError(PipelineError):
    """The Hugging Face Hub refused a request or could not be reached."""


class PackageIndexError(PipelineError):
    """The package index could not be reached; the same request may succeed later."""


@contextmanager
def home_errors(home: Path) -> Iterator[None]:
    """Turns the error of a file below `home` (PIPELINE_HOME) that this user may not use into InputError."""
    try:
        yield
    except OSError as error:
        path = Path(os.fsdecode(error.filename)).absolute() if isinstance(error.filename, (str, bytes)) else None
        if error.errno not in FORBIDDEN or path is None or not path.is_relative_to(home.absolute()):
            raise
        raise InputError(
            f"PIPELINE_HOME ({home}) holds files of another user: {path} ({error.strerror}); "
            "change their owner, or set PIPELINE_HOME to another folder."
        ) from error


def require(holds: bool, name: str, value: object, remedy: str) -> None:
    """Raise FieldError naming `name` and `value` and ending with `remedy`, unless `holds`."""
    if not holds:
        raise FieldError(name, value, remedy)
