"""The trainer in a process that is forked with torch already loaded, so that a trial takes a second and not ten."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import torch

import pipeline.generation.sampling
import pipeline.training.loop  # noqa: F401  # loaded once here for all forked processes
from pipeline.core.paths import RunFolder
from pipeline.training import checkpoint_writer
from pipeline.training.__main__ import main

Plant = Callable[[], None]
"""Changes the child before it trains: plants an earlier bug, or a kill at a later call."""


def saves_beside_training() -> None:
    """Save in the background, as models with more than half a gigabyte of training state do."""
    checkpoint_writer.AT_ONCE_BYTES = -1


def train(folder: RunFolder, plant: Plant | None) -> None:
    """Do what `python -m pipeline.training` does, with output in train.log, and exit with its exit status."""
    log = os.open(folder.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for number in (1, 2):
        os.dup2(log, number)
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    torch.seed()  # a resumed run must not rely on the parent's random state
    if plant is not None:
        plant()
    sys.exit(main([str(folder.path)]))
