"""Checkpoints that are complete or absent: staged, synced, hashed, renamed; the old ones go last.

Their format is `artifacts.checkpoint`'s. Knows nothing of torch: what is in a checkpoint is written by whoever saves it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from pipeline.artifacts import manifest
from pipeline.artifacts.checkpoint import best_of, checkpoints_of, step_of
from pipeline.core.atomic_io import is_no_space, iterate_lines, sync
from pipeline.core.errors import ResourceError
from pipeline.core.paths import RunFolder

LEAST_FREE_BYTES = 2**16
"""With less than this free, whatever went wrong while writing went wrong because of it."""
Writer = Callable[[Path], None]
"""Fills an empty folder with the files of a checkpoint."""


def save(run: RunFolder, step: int, write: Writer, *, keep: int, keep_every: int | None = None) -> Path:
    """Let `write` fill an empty folder, then make it the checkpoint of `step` in one rename.

    A kill at any instant leaves the checkpoints that were there, and this one either complete or not at all. One that
    is there for the same step already is replaced. Afterwards old ones go (see `rotate`). Raises ResourceError when the
    disk is full, and then leaves nothing behind.
    """
    final = run.checkpoint(step)
    run.checkpoints.mkdir(parents=True, exist_ok=True)
    _clear_leftovers(run)
    staging = run.checkpoints / f".staging-{final.name}"
    try:
        staging.mkdir()
        write(staging)
        manifest.seal(staging, step)
        if final.exists():
            _remove(final)
        staging.rename(final)
        sync(run.checkpoints)
    except Exception as error:
        is_full = is_disk_full(error, run.checkpoints)
        shutil.rmtree(staging, ignore_errors=True)
        if is_full:
            raise disk_full(run, f"save step {step}") from error
        raise
    rotate(run, keep=keep, keep_every=keep_every)
    return final


def quarantine_after(run: RunFolder, step: int) -> None:
    """Hide the damaged checkpoints of later steps: training goes on from `step` and comes to them again."""
    for path in checkpoints_of(run):
        if step_of(path) > step:
            path.rename(path.with_name(f".damaged-{path.name}"))


def rotate(run: RunFolder, *, keep: int, keep_every: int | None = None) -> None:
    """Delete all but the newest `keep`, the one with the lowest validation loss, and those of multiples of `keep_every`
    steps. Those the publisher has not linked into the registry yet are spared.
    """
    linked = {row.get("step") for row in iterate_lines(run.pushes)}
    best = best_of(run)
    for path in checkpoints_of(run)[:-keep]:
        is_kept = path == best or (keep_every is not None and step_of(path) % keep_every == 0)
        if step_of(path) in linked and not is_kept:
            _remove(path)


def is_disk_full(error: BaseException, folder: Path) -> bool:
    """Whether `error` came of a full disk under `folder`: safetensors and torch say it in words of their own."""
    return is_no_space(error) or "No space left" in str(error) or shutil.disk_usage(folder).free < LEAST_FREE_BYTES


def disk_full(run: RunFolder, what: str) -> ResourceError:
    """`what` could not be done; says how much is free now."""
    free = shutil.disk_usage(run.path).free
    return ResourceError(
        f"Run {run.id} could not {what}: the disk is full ({free / 1e6:.0f} MB free); free some of it, then resume the run."
    )


def _remove(checkpoint: Path) -> None:
    """Out of sight in one rename first, so that no reader takes half a folder for a checkpoint."""
    hidden = checkpoint.with_name(f".removed-{checkpoint.name}")
    checkpoint.rename(hidden)
    _delete(hidden)


def _clear_leftovers(run: RunFolder) -> None:
    """What a killed trainer was writing or removing, and what was set aside. Only the trainer writes here, and it holds the run's lock."""
    for path in run.checkpoints.glob(".*-step-*"):
        _delete(path)


def _delete(path: Path) -> None:
    """A folder, or whatever a damaged disk made of it."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
