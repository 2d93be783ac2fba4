"""Bugs like earlier ones, planted in one child process by name. The trials must detect them."""

from __future__ import annotations

from pathlib import Path

from pipeline.artifacts import checkpoint, manifest
from pipeline.core import disk_full
from pipeline.core.job_process import JobProcess
from pipeline.core.paths import RunFolder
from pipeline.training import checkpoints, session
from tests.faults.child import Plant, saves_beside_training


def forgets_the_random_state() -> None:
    session.restore_random_state = lambda folder, accelerator: None


def saves_in_place() -> None:
    """Write directly into the checkpoint folder, and accept any folder with its name."""

    def save(run: RunFolder, step: int, write: checkpoints.WriteFiles, **options: object) -> Path:
        folder = run.checkpoint(step)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "training").exists() or write(folder)
        manifest.seal(folder, step)
        return folder

    checkpoints.save = save  # type: ignore[assignment]
    checkpoint.verify = lambda path: None  # type: ignore[assignment]


def has_no_words_for_a_full_disk() -> None:
    checkpoints.is_disk_full = lambda error, folder: False
    disk_full.says_disk_full = lambda error: False


def saves_weights_that_are_no_numbers() -> None:
    session.Session.weights_are_finite = lambda self: True  # type: ignore[method-assign]


def does_not_hear_signals() -> None:
    JobProcess._on_signal = lambda self, number, frame: None  # type: ignore[method-assign]


BY_NAME: dict[str, Plant] = {
    plant.__name__: plant
    for plant in (
        forgets_the_random_state,
        saves_in_place,
        has_no_words_for_a_full_disk,
        saves_weights_that_are_no_numbers,
        does_not_hear_signals,
        saves_beside_training,
    )
}
