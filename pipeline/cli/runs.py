"""Commands about runs: train, resume, runs, status, stop, logs."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from pipeline.cli.console import Console, duration, push_fault
from pipeline.cli.options import (
    Detach,
    Json,
    Queue,
    Run,
    changes_of,
    check_ended,
    rounded,
)
from pipeline.cli.restored import restore_archive_if_due, restore_runs_if_due
from pipeline.config import recipes
from pipeline.config.schema import DEFAULT_CORPUS
from pipeline.core.atomic_io import tail
from pipeline.core.errors import InputError, PipelineError, require
from pipeline.core.gpu import gpu_problem
from pipeline.core.paths import Home
from pipeline.core.settings import Settings
from pipeline.jobs import views
from pipeline.jobs.dry_runs import dry_run as wait_for_dry_run
from pipeline.jobs.follow import follow, follow_run
from pipeline.jobs.job import stop_job
from pipeline.jobs.restoring import resume_run
from pipeline.jobs.run_pushes import shared_repo
from pipeline.jobs.runs import find_run, is_held, start_training
from pipeline.jobs.state import ACTIVE
from pipeline.jobs.view_types import RunView


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
    restore_archive_if_due(settings, console)
    changes = changes_of("--set", set_ or [])
    if max_steps is not None:
        if "max_steps" in changes:
            raise InputError(
                f"--max-steps {max_steps} and --set max_steps={changes['max_steps']} are both given; leave out one."
            )
        changes["max_steps"] = max_steps
    if dry_run:
        run_options = {"corpus": corpus, "preset": preset, "recipe": recipe, "changes": changes}
        _dry_run(settings, console, **run_options, processes=processes, queue=queue)
        return
    problem = gpu_problem() if changes.get("device", "auto") == "auto" else None
    if problem is not None:
        console.line(f"Note: {problem}")
    if sharing := shared_repo(Home(settings.home), settings.hub_repo):
        console.line(f"Note: {sharing}")
    run = start_training(
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
    _follow(settings, console, run, detach=detach or hold, problem=problem)


def resume(run: Run, detach: Detach = False, queue: Queue = False, json: Json = False) -> None:
    """Resume a run that stopped, failed or was interrupted, from its newest checkpoint."""
    settings, console = Settings.from_environment(), Console(as_json=json)
    restore_runs_if_due(settings, console)
    resume_run(settings, run, queue=queue)
    _follow(settings, console, run, detach=detach or is_held(settings, run))


def runs(json: Json = False) -> None:
    """List every run, newest first."""
    settings, console = Settings.from_environment(), Console(as_json=json)
    restore_runs_if_due(settings, console)
    found = views.run_views(Home(settings.home))
    console.table(
        ("run", "state", "step", "of", "validation", "preset", "recipe", "corpus", "on the Hub"),
        [
            (v.run, v.state, v.step, v.max_steps, rounded(v.eval_loss), v.preset, v.recipe, v.corpus, _pushed(v))
            for v in found
        ],
    )
    console.document([view.to_dict() for view in found])


def _pushed(view: RunView) -> str | None:
    """The step that is on the Hub, and whether a newer one does not arrive."""
    pushed = None if view.pushed_step is None else f"step {view.pushed_step}"
    if view.push_fault is None:
        return pushed
    return f"{pushed or 'none'}, {'refused' if view.push_fault.is_refused else 'delayed'}: see status"


def status(run: Run, json: Json = False) -> None:
    """Show what one run is doing."""
    settings, console = Settings.from_environment(), Console(as_json=json)
    restore_runs_if_due(settings, console)
    find_run(settings, run)
    view = views.run_view(Home(settings.home), run)
    console.show_run(view)
    for sentence in filter(None, (view.gpu_problem, view.error)):
        console.line(sentence)
    if view.push_fault:
        console.line(push_fault(view.push_fault))
    console.document(view.to_dict())


def stop(run: Run, detach: Detach = False, json: Json = False) -> None:
    """Ask a run to save a checkpoint and stop; stays until it has."""
    settings, console = Settings.from_environment(), Console(as_json=json)
    stop_job(settings, find_run(settings, run))
    home = Home(settings.home)
    view = views.run_view(home, run) if detach else follow(settings, lambda: views.run_view(home, run))
    console.line(f"Run {run} is {view.state} at step {view.step:,}.")
    console.document(view.to_dict())


def logs(run: Run, lines: Annotated[int, typer.Option(help="Newest lines to show.")] = 50, json: Json = False) -> None:
    """Show the newest lines of a run's log."""
    settings, console = Settings.from_environment(), Console(as_json=json)
    restore_runs_if_due(settings, console)
    require(lines >= 1, "lines", lines, "show 1 line or more")
    found = tail(find_run(settings, run).log, lines)
    for line in found:
        console.line(line)
    console.document({"run": run, "lines": found})


def _follow(settings: Settings, console: Console, run: str, *, detach: bool, problem: str | None = None) -> None:
    """Follow a run that was just requested, unless `detach`. `problem`: why it will not use this machine's GPU."""
    if detach:
        view = views.run_view(Home(settings.home), run)
        message = f"Run {run} goes on by itself; look at it with `python -m pipeline status {run}`."
        console.line(
            message
            if view.state in ACTIVE
            else f"Run {run} is not started; its folder is {Home(settings.home).run(run).path}."
        )
    else:
        with console.stop_on_signal(lambda: stop_job(settings, find_run(settings, run))):
            view = follow_run(settings, run, console.show_run)
        check_ended(view)
    console.document({**view.to_dict(), "gpu_problem": view.gpu_problem or problem})
    if not detach and view.push_fault is not None:
        raise PipelineError(push_fault(view.push_fault))


def _dry_run(settings: Settings, console: Console, **run_options: Any) -> None:
    with console.stop_on_signal(lambda: stop_job(settings, Home(settings.home).dry_run)):
        found = wait_for_dry_run(settings, **run_options, show=console.show_dry_run)
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
        f"All of it: {duration(found.seconds)}, {plan.memory_bytes / 1e9:.1f} GB of memory, "
        f"{plan.disk_bytes / 1e9:.1f} GB of disk, {plan.tokens:,} tokens ({plan.epochs:.2f} times the corpus)."
    )
    for warning in plan.warnings:
        console.line(f"Note: {warning}")
    console.document(found.to_dict())
