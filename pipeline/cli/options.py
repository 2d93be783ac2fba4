"""What several commands take, and how they end."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from pipeline.core.errors import InputError, PipelineError
from pipeline.jobs import views

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Detach = Annotated[bool, typer.Option("--detach", help="Return at once; the work goes on by itself.")]
Queue = Annotated[bool, typer.Option("--queue", help="Wait in the queue when another run trains.")]
SourceOption = Annotated[str, typer.Option("--source", help="installed, files:PATH or hub:REPO.")]
Keywords = Annotated[
    list[str] | None, typer.Option("--keyword", help="Keep files that contain it; the course's four unless given.")
]
MatchOption = Annotated[
    str, typer.Option("--match", help="substring, identifier (a whole name) or import (a line imports it).")
]
Run = Annotated[str, typer.Argument(metavar="RUN", help="Id of a run.")]


def changes_of(option: str, pairs: list[str]) -> dict[str, Any]:
    """`key=value` pairs as a dict. Raises InputError for one that is none."""
    changes = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise InputError(f"{option} is {pair!r}; write it as key=value, with the name of a field before the sign.")
        changes[name.strip()] = value
    return changes


def check_ended(view: views.RunView | views.CorpusView) -> None:
    """A job that failed ends its command as if it had failed there."""
    if view.state in ("failed", "interrupted"):
        kind = InputError if view.is_callers_mistake else PipelineError
        raise kind(view.error or f"The job is {view.state}; see its log.")


def rounded(value: float | None) -> str | None:
    return None if value is None else f"{value:.3f}"
