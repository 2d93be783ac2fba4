"""The training state of the newest checkpoints, kept for a push that comes after training has deleted them.

    registry/<repo>/states/<run>/<revision>/    manifest.json and training/, hard links of the checkpoint's files

Training keeps its newest checkpoints itself, so a state takes disk space of its own only while it is being uploaded.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from pipeline.artifacts import manifest
from pipeline.artifacts.checkpoint import STATE, complete_checkpoints, revision_of
from pipeline.artifacts.revision import Revision
from pipeline.core import atomic_io
from pipeline.core.paths import Home, RunFolder

NUM_KEPT = 2
"""Newest checkpoints of each run whose state is kept."""


def state_folder(home: Home, revision: Revision) -> Path:
    """Where the revision's state is kept, if it is."""
    return _folder(home, revision.repo) / revision.run / revision.revision


def keep_newest(home: Home, repo: str, run: RunFolder, *, in_use: Iterable[str]) -> None:
    """Keep the states of the run's newest checkpoints, and those of the revisions `in_use`; delete its others. For the
    publisher only.
    """
    folder = _folder(home, repo) / run.id
    newest = {revision_of(path): path for path in complete_checkpoints(run)[-NUM_KEPT:]}
    for revision, checkpoint in newest.items():
        if revision is not None and not (folder / revision).exists():
            link_state(checkpoint, folder / revision)
    wanted = {*newest, *in_use}
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name not in wanted:
            shutil.rmtree(path, ignore_errors=True)


def forget_lost(home: Home, repo: str) -> None:
    """Delete the states of runs that are gone. For the publisher only."""
    folder = _folder(home, repo)
    for path in folder.iterdir() if folder.is_dir() else ():
        if not home.run(path.name).path.exists():
            shutil.rmtree(path, ignore_errors=True)


def link_state(source: Path, target: Path) -> bool:
    """Link the manifest and the training state in `source` into the new folder `target`; copies where the disk has no
    hard links. Returns False, and leaves nothing, when there is no state of the present format, or it is gone meanwhile.
    """
    entries = manifest.entries_of(atomic_io.readable_json(source / manifest.NAME)) or {}
    names = [name for name in entries if name.startswith(STATE) and name.endswith((".json", ".safetensors"))]
    if not names:
        return False
    staged = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(staged, ignore_errors=True)
    (staged / STATE).mkdir(parents=True)
    try:
        for name in [manifest.NAME, *names]:
            atomic_io.link_or_copy(source / name, staged / name)
        staged.rename(target)
    except FileNotFoundError:
        return False
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return True


def _folder(home: Home, repo: str) -> Path:
    return home.registry(repo) / "states"
