"""A dry run: a short version of a training run with all its phases, and an estimate of what the full run will take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from pipeline.config.requests import RunRequest
from pipeline.config.schema import RunConfig
from pipeline.core.errors import BusyError, InputError, PipelineError, require
from pipeline.core.paths import Home
from pipeline.core.settings import Settings
from pipeline.hub.repo_check import check_model_repo
from pipeline.jobs.follow import follow
from pipeline.jobs.job import refuse_second, request_lock, submit
from pipeline.jobs.job_files import read_manifest
from pipeline.jobs.runs import check_training
from pipeline.jobs.state import job_state
from pipeline.jobs.view_types import DryRunView
from pipeline.jobs.views import dry_run_view
from pipeline.planning import Plan, plan_run

MAX_EVAL_WINDOWS = 64
"""Evaluating on all windows may take hours; the evaluation time is scaled up from these."""
STEPS = 2
AFTER_ALL_STEPS = 10**9
"""An interval that no run reaches: no periodic evaluations and checkpoints."""


@dataclass(frozen=True, kw_only=True)
class DryRunResult:
    """What the dry run measured, and the estimate for the full run."""

    plan: Plan
    measured: dict[str, Any]
    """As DryRunView.measured, but `eval_seconds` is scaled up to all windows of the run."""
    seconds: float
    """Estimated duration of the full run."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def dry_run(
    settings: Settings,
    *,
    corpus: str,
    preset: str,
    recipe: str,
    changes: dict[str, Any] | None = None,
    processes: int = 1,
    queue: bool = False,
    show: Callable[[DryRunView], None] = lambda view: None,
) -> DryRunResult:
    """Run STEPS updates, an evaluation, a save, a load and a generation as a job in one process, and wait for it.

    Raises the error that the run would end with; BusyError while another dry run is active, and
    unless `queue` while a run trains.
    """
    require(processes == 1, "processes", processes, "leave it out: a dry run is done by one process")
    home = Home(settings.home)
    config = check_training(home, corpus, preset, recipe, changes or {})
    manifest = read_manifest(home.corpus(corpus))
    if manifest is None:
        raise InputError(f"Corpus {corpus} is not ready yet; wait until it is prepared.")
    check_model_repo(settings)
    num_windows = _eval_windows(config, manifest["tokens_validation"])
    shortened = _shortened(changes or {}, min(num_windows, MAX_EVAL_WINDOWS))
    start_dry_run(settings, RunRequest(corpus=corpus, preset=preset, recipe=recipe, changes=shortened), queue=queue)
    view = follow(settings, lambda: dry_run_view(home), show)
    if view.measured is None:
        error = InputError if view.is_callers_mistake else PipelineError
        raise error(f"The dry run {'failed' if view.error else view.state}: {view.error or 'start it again'}")
    evaluation = view.measured["eval_seconds"] * max(1.0, num_windows / MAX_EVAL_WINDOWS)
    return _result(home, config, manifest, {**view.measured, "eval_seconds": evaluation})


def start_dry_run(settings: Settings, request: RunRequest, *, queue: bool = False) -> None:
    """Request a dry run; `request` is already shortened. `queue`: whether it may wait for runs that train."""
    with request_lock(settings) as home:
        if not queue:
            refuse_second(home)
        if home.dry_run.request.exists() and job_state(home.dry_run).is_active:
            raise BusyError("Another dry run is going on here; wait until it is over.")
        submit(home.dry_run, request)


def _result(home: Home, config: RunConfig, manifest: dict[str, Any], measured: dict[str, Any]) -> DryRunResult:
    plan = plan_run(config, train_tokens=manifest["tokens_train"], manifest=manifest, home=home.path, is_idle=True)
    seconds = (
        measured["step_seconds"] * plan.steps
        + measured["eval_seconds"] * plan.evaluations
        + measured["save_seconds"] * plan.checkpoints
    )
    seen = measured.get("gpu_problem")  # torch itself may see more than the plan
    warnings = [*plan.warnings, *([seen] if seen and seen not in plan.warnings else [])]
    plan = replace(plan, memory_bytes=measured["peak_memory_bytes"], warnings=warnings)
    return DryRunResult(plan=plan, measured=measured, seconds=seconds)


def _shortened(changes: dict[str, Any], num_windows: int) -> dict[str, Any]:
    """`changes` of the requested run, shortened to its first STEPS updates."""
    steps = {"max_steps": STEPS, "warmup_steps": 1, "eval_windows": num_windows, "log_every_steps": 1}
    never = {"eval_every_steps": AFTER_ALL_STEPS, "checkpoint_every_steps": AFTER_ALL_STEPS}
    return {**changes, **steps, **never, "trackers": ()}


def _eval_windows(config: RunConfig, validation_tokens: int) -> int:
    available = validation_tokens // config.model.window
    return max(1, min(available, config.training.eval_windows or available))
