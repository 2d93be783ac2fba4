"""A dry run: the whole way of a run in small, in a home of its own that is deleted again, and what the run will take."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.config.schema import RunConfig
from pipeline.core.atomic_io import locked, read_json, write_json
from pipeline.core.environment import child_environment
from pipeline.core.errors import BusyError, InputError, PipelineError, require
from pipeline.core.paths import ROOT, Home
from pipeline.core.settings import Settings
from pipeline.jobs.requests import refuse_second
from pipeline.jobs.run_requests import check_training
from pipeline.planning import Plan, plan_run

MOST_EVAL_WINDOWS = 64
"""Evaluating on all of them may take hours; the rest is in proportion."""
STEPS = 2
NEVER = 10**9


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """What a run was seen to take, and what all of it will."""

    plan: Plan
    measured: dict[str, Any]
    """Seconds of a step, an evaluation, a checkpoint; its bytes; memory; precision, device, micro-batch."""
    seconds: float
    """Of the whole run, from what was measured."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def rehearse(
    settings: Settings,
    *,
    corpus: str,
    preset: str,
    recipe: str,
    changes: dict[str, Any] | None = None,
    processes: int = 1,
) -> Rehearsal:
    """Do two updates of the run, evaluate, save, load and generate, in one process. Raises what the run would end with;
    BusyError while one trains.
    """
    require(processes == 1, "processes", processes, "leave it out: a dry run is done by one process")
    home = Home(settings.home)
    config = check_training(home, corpus, preset, recipe, changes or {})
    refuse_second(home)
    manifest = read_json(home.corpus(corpus).manifest)
    if manifest is None:
        raise InputError(f"Corpus {corpus} is not ready yet; wait until it is prepared.")
    num_windows = _eval_windows(config, manifest["tokens_validation"])
    with _small_home(home, corpus) as small:
        folder = small.run("rehearsal")
        asked = _in_small(changes or {}, min(num_windows, MOST_EVAL_WINDOWS))
        request = {"kind": "train", "corpus": corpus, "preset": preset, "recipe": recipe, "changes": asked}
        write_json(folder.request, {"request_id": "rehearsal", **request})
        _run(folder.path)
        measured = read_json(folder.path / "rehearsal.json") or {}
    measured["eval_seconds"] *= max(1.0, num_windows / MOST_EVAL_WINDOWS)
    plan = plan_run(config, train_tokens=manifest["tokens_train"], home=home.path)
    seconds = (
        measured["step_seconds"] * plan.steps
        + measured["eval_seconds"] * plan.evaluations
        + measured["save_seconds"] * plan.checkpoints
    )
    plan = replace(plan, memory_bytes=measured["peak_memory_bytes"])
    return Rehearsal(plan=plan, measured=measured, seconds=seconds)


def _in_small(changes: dict[str, Any], num_windows: int) -> dict[str, Any]:
    """The run that was asked for, cut to its first STEPS updates."""
    steps = {"max_steps": STEPS, "warmup_steps": 1, "eval_windows": num_windows, "log_every_steps": 1}
    return {**changes, **steps, "eval_every_steps": NEVER, "checkpoint_every_steps": NEVER, "trackers": ()}


def _eval_windows(config: RunConfig, validation_tokens: int) -> int:
    there = validation_tokens // config.model.window
    return max(1, min(there, config.training.eval_windows or there))


@contextlib.contextmanager
def _small_home(home: Home, corpus: str) -> Iterator[Home]:
    """On the same disk, so that a full one is noticed; with the corpus in it. What a killed one left is removed first."""
    folder = home.path / ".rehearsal"
    with locked(home.path / ".rehearsal.lock", wait=False) as is_ours:
        if not is_ours:
            raise BusyError("Another dry run is going on here; wait until it is over.")
        shutil.rmtree(folder, ignore_errors=True)
        try:
            small = Home(folder)
            small.corpus(corpus).path.parent.mkdir(parents=True)
            small.corpus(corpus).path.symlink_to(home.corpus(corpus).path.absolute(), target_is_directory=True)
            yield small
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _run(folder: Path) -> None:
    """Raises PipelineError with the sentence that the run ended with."""
    log = folder / "rehearsal.log"
    with log.open("wb") as output:
        command = [sys.executable, "-P", "-m", "pipeline.training.dry_run", str(folder)]
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=child_environment(),
            cwd=ROOT,
            check=False,
        )
    if done.returncode == 0:
        return
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    sentence = lines[-1] if lines else f"it ended with status {done.returncode}"
    error = InputError if done.returncode == 2 else PipelineError
    raise error(f"The dry run failed: {sentence}")
