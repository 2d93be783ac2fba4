"""Commands about runs: train, resume, runs, status, stop, logs."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from pipeline.cli.console import Console, lasting
from pipeline.cli.options import (
    Detach,
    Json,
    Queue,
    Run,
    changes_of,
    check_ended,
    rounded,
)
from pipeline.config import recipes
from pipeline.config.schema import DEFAULT_CORPUS
from pipeline.core.errors import require
from pipeline.core.paths import Home
from pipeline.core.settings import Settings
from pipeline.jobs import run_requests, views
from pipeline.jobs.state import ACTIVE


def train(
    corpus: Annotated[str, typer.Option(help="Id of a prepared corpus.")] = DEFAULT_CORPUS,
    preset: Annotated[str, typer.Option(help=f"One of {', '.join(recipes.PRESETS)}.")] = "tiny",
    recipe: Annotated[str, typer.Option(help=f"One of {', '.join(recipes.RECIPES)}.")] = "accelerate",
    run_id: Annotated[str | None, typer.Option(help="Id of the run; a name is made up unless given.")] = None,
    max_steps: Annotated[int | None, typer.Option(help="Optimizer steps.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="key=value: a field of the model or training.")
    ] = None,
    processes: Annotated[int, typer.Option(help="Processes that share the batch; on CUDA one for each GPU.")] = 1,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Two updates, evaluate, save, load, generate; and what it all will take.")
    ] = False,
    hold: Annotated[bool, typer.Option("--hold", help="Start nothing: you start it, by torchrun.")] = False,
    detach: Detach = False,
    queue: Queue = False,
    json: Json = False,
) -> None:
    """Train a GPT-2 from scratch; stays until the last checkpoint is in the registry."""
    settings, console = Settings.from_environment(), Console(as_json=json)
    changes = changes_of("--set", set_ or [])
    if max_steps is not None:
        changes["max_steps"] = max_steps
    if dry_run:
        asked = {"corpus": corpus, "preset": preset, "recipe": recipe, "changes": changes}
        _rehearse(settings, console, **asked, processes=processes)
        return
    run = run_requests.start_training(
        settings,
        corpus=corpus,
        preset=preset,
        recipe=recipe,
        run_id=run_id,
        changes=changes,
        queue=queue,
        processes=processes,
        hold=hold,
    )
    _stay(settings, console, run, detach=detach or hold)


def resume(run: Run, detach: Detach = False, queue: Queue = False, json: Json = False) -> None:
    """Go on with a run that stopped, failed or was interrupted, from its newest checkpoint."""
    settings, console = Settings.from_environment(), Console(as_json=json)
    run_requests.resume_run(settings, run, queue=queue)
    _stay(settings, console, run, detach=detach or run_requests.is_held(settings, run))


def runs(json: Json = False) -> None:
    """List every run, newest first."""
    console = Console(as_json=json)
    found = views.run_views(Home(Settings.from_environment().home))
    console.table(
        ("run", "state", "step", "of", "validation", "preset", "recipe", "corpus"),
        [(v.run, v.state, v.step, v.max_steps, rounded(v.eval_loss), v.preset, v.recipe, v.corpus) for v in found],
    )
    console.document([view.to_dict() for view in found])


def status(run: Run, json: Json = False) -> None:
    """Show what one run is doing."""
    settings, console = Settings.from_environment(), Console(as_json=json)
    run_requests.find_run(settings, run)
    view = views.run_view(Home(settings.home), run)
    console.show_run(view)
    if view.error:
        console.line(view.error)
    console.document(view.to_dict())


def stop(run: Run, detach: Detach = False, json: Json = False) -> None:
    """Ask a run to save a checkpoint and stop; stays until it has."""
    from pipeline.jobs.follow import wait_until_ended

    settings, console = Settings.from_environment(), Console(as_json=json)
    run_requests.stop_run(settings, run)
    view = views.run_view(Home(settings.home), run) if detach else wait_until_ended(settings, run)
    console.line(f"Run {run} is {view.state} at step {view.step:,}.")
    console.document(view.to_dict())


def logs(run: Run, lines: Annotated[int, typer.Option(help="Newest lines to show.")] = 50, json: Json = False) -> None:
    """Show the newest lines of a run's log."""
    settings, console = Settings.from_environment(), Console(as_json=json)
    require(lines >= 1, "lines", lines, "show 1 line or more")
    found = views.log(run_requests.find_run(settings, run), lines)
    for line in found:
        console.line(line)
    console.document({"run": run, "lines": found})


def _stay(settings: Settings, console: Console, run: str, *, detach: bool) -> None:
    """Follow a run that was just asked for, unless it is to go on by itself."""
    from pipeline.jobs.follow import follow_run

    if detach:
        view = views.run_view(Home(settings.home), run)
        told = f"Run {run} goes on by itself; look at it with `python -m pipeline status {run}`."
        console.line(
            told
            if view.state in ACTIVE
            else f"Run {run} is not started; its folder is {Home(settings.home).run(run).path}."
        )
    else:
        with console.stop_on_signal(lambda: run_requests.stop_run(settings, run)):
            view = follow_run(settings, run, console.show_run)
        check_ended(view)
    console.document(view.to_dict())


def _rehearse(settings: Settings, console: Console, **asked: Any) -> None:
    from pipeline.jobs.dry_run import rehearse

    found = rehearse(settings, **asked)
    measured, plan = found.measured, found.plan
    console.line(
        "Two updates, an evaluation, a checkpoint, the model loaded and asked: all of it works. "
        f"{measured['device']}, {measured['precision']}, micro-batches of {measured['micro_batch_size']} windows."
    )
    console.table(
        ("what", "each", "times"),
        [
            ("step", f"{measured['step_seconds']:.2f} s", f"{plan.steps:,}"),
            ("evaluation", f"{measured['eval_seconds']:.1f} s", f"{plan.evaluations:,}"),
            ("checkpoint", f"{measured['save_seconds']:.1f} s", f"{plan.checkpoints:,}"),
        ],
    )
    console.line(
        f"All of it: {lasting(found.seconds)}, {plan.memory_bytes / 1e9:.1f} GB of memory, "
        f"{plan.disk_bytes / 1e9:.1f} GB of disk, {plan.tokens:,} tokens ({plan.epochs:.2f} times the corpus)."
    )
    for warning in plan.warnings:
        console.line(f"Note: {warning}")
    console.document(found.to_dict())
