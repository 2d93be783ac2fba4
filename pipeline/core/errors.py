"""Errors meant for people: one sentence with the name, the value and the remedy.

Anything else that is raised is our own mistake and keeps its traceback.
"""

from __future__ import annotations


class PipelineError(Exception):
    """Something a person can understand; the message is shown as it is on the page and on the command line."""

    exit_status = 1
    """What the command line exits with: 2 when the caller can fix it, 1 otherwise."""


class InputError(PipelineError):
    """What was asked for cannot be done as asked: an unknown name, a value out of range, an empty prompt."""

    exit_status = 2


class BusyError(InputError):
    """Something else is using what was asked for; the message names it."""


class DamagedError(PipelineError):
    """A file of ours is not what its manifest says; the message says which and what to use instead."""


class DivergedError(PipelineError):
    """A run's loss or weights are no longer numbers."""

    def __init__(self, message: str, *, step: int, reason: str) -> None:
        super().__init__(message)
        self.step = step
        """Optimizer step at which it was seen."""
        self.reason = reason


class ResourceError(PipelineError):
    """This machine ran out of memory or disk."""


class HubError(PipelineError):
    """The Hugging Face Hub refused or could not be reached."""


def require(holds: bool, name: str, value: object, remedy: str) -> None:
    """Raise InputError naming `name` and `value` and ending with `remedy`, unless `holds`."""
    if not holds:
        raise InputError(f"{name} is {value!r}; {remedy}.")
