"""Checkpoints that are complete or absent: staged, synced, hashed, renamed; the old ones go last.

A checkpoint is `checkpoints/step-00000500/` with a manifest.json that names every file with size and SHA-256. Knows
nothing of torch: what is in a checkpoint is written by whoever saves it.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline import manifest
from pipeline.core.atomic_io import is_no_space, iterate_lines, read_json, readable_json, sync
from pipeline.core.errors import DamagedError, ResourceError
from pipeline.core.paths import RunFolder

LEAST_FREE_BYTES = 2**16
"""With less than this free, whatever went wrong while writing went wrong because of it."""
NAME = re.compile(r"step-(\d{8,})")
Writer = Callable[[Path], None]
"""Fills an empty folder with the files of a checkpoint."""


@dataclass(frozen=True)
class Newest:
    """The newest checkpoint that verifies, and why newer ones were passed over."""

    path: Path | None
    step: int
    """0 without a checkpoint."""
    damaged: tuple[DamagedError, ...]


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


def verify(checkpoint: Path) -> None:
    """Raises DamagedError, naming the file, unless every file is what the manifest says. One that cannot be read is not."""
    try:
        _verify(checkpoint)
    except OSError as error:
        where = Path(error.filename).name if error.filename else "a file"
        raise _damaged(checkpoint, f"{where} cannot be read ({error.strerror})") from error


def _verify(checkpoint: Path) -> None:
    try:
        found = read_json(checkpoint / manifest.NAME)
    except DamagedError as error:
        raise _damaged(checkpoint, "its manifest.json is not JSON, or no object") from error
    if found is None:
        raise _damaged(checkpoint, "it has no manifest.json")
    if found.get("format") != manifest.FORMAT or found.get("step") != _step(checkpoint):
        raise _damaged(checkpoint, "its manifest.json is of another format or another step")
    entries = manifest.entries_of(found)
    if entries is None:
        raise _damaged(checkpoint, "its manifest.json names no files that could be its own")
    if fault := manifest.fault(checkpoint, entries):
        raise _damaged(checkpoint, fault)


def newest_valid(run: RunFolder) -> Newest:
    """The newest checkpoint that verifies. Raises DamagedError when there are some and none does."""
    damaged = []
    for path in reversed(complete(run)):
        try:
            verify(path)
        except DamagedError as error:
            damaged.append(error)
        else:
            return Newest(path, _step(path), tuple(damaged))
    if damaged:
        reason = str(damaged[0]).partition(": ")[2].partition(";")[0]
        raise DamagedError(f"Run {run.id} has no checkpoint left that can be read ({reason}); start a new run.")
    return Newest(None, 0, ())


def complete(run: RunFolder) -> list[Path]:
    """The run's checkpoints, oldest first."""
    if not run.checkpoints.is_dir():
        return []
    found = [path for path in run.checkpoints.iterdir() if NAME.fullmatch(path.name) and path.is_dir()]
    return sorted(found, key=_step)


def quarantine_after(run: RunFolder, step: int) -> None:
    """Hide the damaged checkpoints of later steps: training goes on from `step` and comes to them again."""
    for path in complete(run):
        if _step(path) > step:
            path.rename(path.with_name(f".damaged-{path.name}"))


def rotate(run: RunFolder, *, keep: int, keep_every: int | None = None) -> None:
    """Delete all but the newest `keep`, the one with the lowest validation loss, and those of multiples of `keep_every`
    steps. Those the publisher has not linked into the registry yet are spared.
    """
    linked = {row.get("step") for row in iterate_lines(run.pushes)}
    best = best_of(run)
    for path in complete(run)[:-keep]:
        is_kept = path == best or (keep_every is not None and _step(path) % keep_every == 0)
        if _step(path) in linked and not is_kept:
            _remove(path)


def best_of(run: RunFolder) -> Path | None:
    """The checkpoint with the lowest validation loss, as its provenance.json says; None where none was measured."""
    losses = {path: readable_json(path / "provenance.json").get("eval_loss") for path in complete(run)}
    measured = {path: loss for path, loss in losses.items() if isinstance(loss, (int, float))}
    return min(measured, key=lambda path: measured[path]) if measured else None


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


def _step(checkpoint: Path) -> int:
    match = NAME.fullmatch(checkpoint.name)
    assert match, checkpoint
    return int(match[1])


def _damaged(checkpoint: Path, reason: str) -> DamagedError:
    return DamagedError(f"Checkpoint {checkpoint.name} is damaged: {reason}; the one before it is used.")
