"""Writes checkpoints that are complete or absent: staged, synced, hashed, renamed. Old ones are deleted last.

`artifacts.checkpoint` defines the format. Does not depend on torch: the caller writes the content of a checkpoint.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from pipeline.artifacts import manifest
from pipeline.artifacts.checkpoint import best_of, checkpoints_of, step_of
from pipeline.core.atomic_io import iterate_lines, sync
from pipeline.core.disk_full import disk_full, is_disk_full
from pipeline.core.paths import RunFolder

WriteFiles = Callable[[Path], None]
"""Fills an empty folder with the files of a checkpoint."""


def save(run: RunFolder, step: int, write: WriteFiles, *, keep: int, keep_every: int | None = None) -> Path:
    """Let `write` fill an empty folder, then rename it to the checkpoint of `step`.

    A kill at any instant keeps the checkpoints of other steps, and this one is either complete or absent. An existing
    checkpoint of the same step is replaced. Old checkpoints are deleted afterwards (see `rotate`). Raises ResourceError
    when the disk is full, and then leaves nothing behind.
    """
    final = run.checkpoint(step)
    run.checkpoints.mkdir(parents=True, exist_ok=True)
    _clear_leftovers(run)
    staging = run.checkpoints / f".staging-{final.name}"
    try:
        staging.mkdir()
        write(staging)
        manifest.seal(staging, step)
        earlier = _hide(final) if final.exists() else None
        staging.rename(final)
        sync(run.checkpoints)
        if earlier is not None:
            _delete(earlier)
    except Exception as error:
        is_full = is_disk_full(error, run.checkpoints)
        shutil.rmtree(staging, ignore_errors=True)
        if is_full:
            raise disk_full(run.path, f"Run {run.id} could not save step {step}", "resume the run") from error
        raise
    rotate(run, keep=keep, keep_every=keep_every)
    return final


def quarantine_after(run: RunFolder, step: int) -> None:
    """Hide the damaged checkpoints of later steps: training resumes from `step` and reaches those steps again."""
    for path in checkpoints_of(run):
        if step_of(path) > step:
            path.rename(path.with_name(f".damaged-{path.name}"))


def rotate(run: RunFolder, *, keep: int, keep_every: int | None = None) -> None:
    """Delete all but the newest `keep`, the one with the lowest validation loss, and those at multiples of `keep_every`
    steps. Checkpoints that the publisher has not yet linked into the registry are kept as well.
    """
    linked = {row.get("step") for row in iterate_lines(run.pushes)}
    best = best_of(run)
    for path in checkpoints_of(run)[:-keep]:
        is_kept = path == best or (keep_every is not None and step_of(path) % keep_every == 0)
        if step_of(path) in linked and not is_kept:
            _remove(path)


def _remove(checkpoint: Path) -> None:
    """Rename it to a hidden name before deleting, so that no reader sees a partly deleted checkpoint."""
    _delete(_hide(checkpoint))


def _hide(checkpoint: Path) -> Path:
    hidden = checkpoint.with_name(f".removed-{checkpoint.name}")
    return checkpoint.rename(hidden)


def _clear_leftovers(run: RunFolder) -> None:
    """Delete what a killed trainer was writing or removing, and quarantined checkpoints.

    Only the trainer writes here, and it holds the run's lock.
    """
    for path in run.checkpoints.glob(".*-step-*"):
        _delete(path)


def _delete(path: Path) -> None:
    """Delete a folder, or the file or link that a damaged disk left in its place."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
