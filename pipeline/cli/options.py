"""Options that several commands share, and helpers for parsing values and reporting failed jobs."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.core.errors import InputError, PipelineError
from pipeline.jobs.view_types import JobView

SOURCE_HELP = (
    "installed; pypi: examples of data-science projects from the package index; pypi:NAME,NAME: whole projects "
    "(#examples or #all behind it changes that); files:PATH; hub:REPO."
)
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Detach = Annotated[bool, typer.Option("--detach", help="Return at once; the job continues in the background.")]
Queue = Annotated[bool, typer.Option("--queue", help="Wait in the queue when another run trains.")]
SourceOption = Annotated[str, typer.Option("--source", help=SOURCE_HELP)]
Keywords = Annotated[
    list[str] | None, typer.Option("--keyword", help="Keep files that contain it; the course's four unless given.")
]
MatchOption = Annotated[
    str, typer.Option("--match", help="substring, identifier (a whole name) or import (a line imports it).")
]
Run = Annotated[str, typer.Argument(metavar="RUN", help="Id of a run.")]


PATH = re.compile(r"[\w.~+@-]*/[\w.~+@/-]*|[\w.~+@-]+\.py")
"""An argument that is taken for a path, not for a text: one word with a slash or the suffix .py, without operators."""


def changes_of(option: str, pairs: list[str]) -> dict[str, Any]:
    """`key=value` pairs as a dict. Raises InputError for a malformed pair, or a key that is given twice."""
    changes: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise InputError(f"{option} is {pair!r}; write it as key=value, with the name of a field before the sign.")
        name = name.strip()
        if name in changes:
            raise InputError(f"{option} {name} is given as {changes[name]!r} and as {value!r}; leave out one.")
        changes[name] = value
    return changes


def text_of(argument: str) -> str:
    """The text that a command works on: of standard input for `-`, of a file that has this name, else `argument`.
    Raises InputError for a file that is not UTF-8, and for a path without a file.
    """
    if argument == "-":
        return sys.stdin.read()
    try:
        is_file = Path(argument).is_file()
    except (OSError, ValueError):  # too long for a name, or a zero byte
        return argument
    if not is_file:
        if PATH.fullmatch(argument):
            raise InputError(
                f"There is no file {argument}; correct the path. To use these characters as the text, pass them on "
                "standard input, with - in their place."
            )
        return argument
    try:
        return Path(argument).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{argument} cannot be read as text ({error}); give a text, or a file in UTF-8.") from error


def check_ended(view: JobView) -> None:
    """Raise the error of a failed or interrupted job, as if it had happened in the command itself."""
    if view.state in ("failed", "interrupted"):
        kind = InputError if view.is_callers_mistake else PipelineError
        raise kind(view.error or f"The job is {view.state}; see its log.")


def rounded(value: float | None) -> str | None:
    return None if value is None else f"{value:.3f}"
