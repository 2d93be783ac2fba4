"""Training in one process or several: rank 0 decides and writes, the others follow. One process needs no launcher.

Several are started by `torchrun ... -m pipeline.training RUN_FOLDER`, which sets RANK and WORLD_SIZE.
"""

from __future__ import annotations

import contextlib
import os
import signal
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from torch import distributed

from pipeline.config.schema import TrainingConfig
from pipeline.core.job_process import JobProcess


def join_processes(device: torch.device, config: TrainingConfig) -> None:
    """Join the other ranks, if there are any. Raises InputError when the batch cannot be divided among them."""
    num_processes = PartialState(cpu=device.type == "cpu").num_processes
    # When it is launched incorrectly, Accelerate silently runs one independent training per process.
    assert num_processes == int(os.environ.get("WORLD_SIZE", "1")), "the processes did not find each other"
    config.check_processes(num_processes)


def leave_processes() -> None:
    """Leave the process group, as the last action of a rank. A rank that exits while still connected may abort at exit
    when another is still saving, and its launcher then treats the whole run as failed.
    """
    with contextlib.suppress(RuntimeError):  # everything is saved by now
        PartialState().destroy_process_group()


def from_rank_0(value: Any) -> Any:
    """Rank 0's `value`, returned on every rank. All ranks must call it."""
    if PartialState().num_processes == 1:
        return value
    return broadcast_object_list([value])[0]


def leave_signals_to_rank_0() -> None:
    """Ignore SIGTERM and SIGINT. A signal to the process group reaches every rank; the others stop when rank 0 does."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


class StopSign:
    """Whether to save and exit. Rank 0 asks its job, and all ranks get the same answer at the same step."""

    def __init__(self, job: JobProcess | None) -> None:
        self._job = job
        self._is_alone = PartialState().num_processes == 1
        # Over gloo, in CPU memory: over NCCL every step would wait for the GPU.
        self._group = None if self._is_alone else distributed.new_group(backend="gloo")

    def __call__(self) -> bool:
        is_requested = self._job is not None and self._job.stop_requested
        if self._is_alone:
            return is_requested
        answer = torch.tensor([int(is_requested)])
        distributed.broadcast(answer, src=0, group=self._group)
        return bool(answer)

    def within_a_step(self) -> bool:
        """The same, between two micro-batches. False with several processes: asking would make each wait for all."""
        return self._is_alone and self()

    def interruptible(self) -> AbstractContextManager[None]:
        """Inside, a stop request raises StopRequested. Not with several processes: the others would hang."""
        return self._job.interruptible() if self._job is not None and self._is_alone else nullcontext()
