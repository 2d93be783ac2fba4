"""The command evaluate: how much of what a revision writes parses, runs and is right."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from pipeline.artifacts.revision import Revision
from pipeline.cli.console import Console
from pipeline.cli.options import Detach, Json, check_ended, rounded
from pipeline.cli.restored import restore_archive_if_due
from pipeline.core.atomic_io import readable_json
from pipeline.core.errors import InputError
from pipeline.core.paths import Home
from pipeline.core.settings import Settings
from pipeline.jobs.evaluations import SAMPLES, revisions_of, start_evaluating, stop_evaluating
from pipeline.jobs.follow import follow
from pipeline.jobs.views import evaluation_view


def evaluate(
    revision: Annotated[
        list[str] | None,
        typer.Option(help="newest, best, a revision, or OWNER/NAME on the Hub; may be repeated. Without it: newest."),
    ] = None,
    run: Annotated[str | None, typer.Option(help="Every pushed revision of this run, instead.")] = None,
    corpus: Annotated[
        str | None, typer.Option(help="Read the held-out files of this corpus, for a model with another or none.")
    ] = None,
    samples: Annotated[int, typer.Option(help="Completions of each task.")] = SAMPLES,
    again: Annotated[bool, typer.Option("--again", help="Also what was evaluated before.")] = False,
    stop: Annotated[bool, typer.Option("--stop", help="Stop the evaluation that is queued or runs.")] = False,
    detach: Detach = False,
    json: Json = False,
) -> None:
    """Complete the tasks with a revision, run what it wrote in a sandbox, and read held-out files.

    It is a job, which waits for those before it. The results stay in evaluations/ of the home folder; a revision is
    evaluated once.
    """
    settings, console = Settings.from_environment(), Console(as_json=json)
    home = Home(settings.home)
    if stop:
        stop_evaluating(settings)
        console.document(evaluation_view(home).to_dict())
        return
    restore_archive_if_due(settings, console)
    chosen = _chosen(settings, revision or [], run)
    start_evaluating(settings, chosen, run=run, corpus=corpus, samples=samples, again=again)
    if detach:
        console.line("The evaluation goes on by itself; the Train tab shows it, and `evaluate --stop` stops it.")
        console.document(evaluation_view(home).to_dict())
        return
    with console.stop_on_signal(lambda: stop_evaluating(settings)):
        view = follow(settings, lambda: evaluation_view(home), console.show_evaluation)
    found = [
        result
        for one in chosen
        if (result := readable_json(home.evaluation(one.revision, corpus if corpus != one.corpus else None)))
    ]
    console.table(
        ("revision", "step", "validation", "parses", "runs", "pass@1", "pass@10", "next line", "by heart", "bits/byte"),
        [_row(result) for result in found],
    )
    check_ended(view)
    console.document(found)


def _chosen(settings: Settings, names: list[str], run: str | None) -> list[Revision]:
    """The revisions to evaluate, with their files. Raises InputError for an unknown one and for a run without any."""
    from pipeline.hub.revision_store import RevisionStore

    store = RevisionStore(settings)
    if run is None:
        return [store.choose(name) for name in names or ["newest"]]
    if names:
        raise InputError("--run takes all revisions of a run; leave out --revision, or --run.")
    return revisions_of(Home(settings.home), store, run)


def _row(result: dict[str, Any]) -> tuple[Any, ...]:
    scored, held_out = result["tasks"], result["held_out"] or {}
    right, of_ten = scored["pass@1"], scored.get("pass@10")
    return (
        result["revision"],
        result["step"],
        rounded(result["eval_loss"]),
        _percent(scored["parses"]["value"]),
        _percent(scored["runs"]["value"]),
        f"{_percent(right['value'])} ({_percent(right['low'])} to {_percent(right['high'])})",
        _percent(of_ten["value"]) if of_ten else None,
        _percent(held_out["next_line"]["exact"]) if held_out else None,
        _percent(held_out["by_heart"]["train"]["share"]) if held_out.get("by_heart") else None,
        rounded(held_out.get("bits_per_byte")),
    )


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{100 * share:.1f} %"
