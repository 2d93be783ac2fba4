"""One process or several: rank 0 decides and writes, the others follow. One process needs no launcher.

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
from pipeline.core.job_process import Job


def join_processes(device: torch.device, config: TrainingConfig) -> None:
    """Meet the other ranks, if there are any. Raises InputError when the batch cannot be divided among them."""
    num_processes = PartialState(cpu=device.type == "cpu").num_processes
    # Started the wrong way, Accelerate silently runs as many independent trainings as there are processes.
    assert num_processes == int(os.environ.get("WORLD_SIZE", "1")), "the processes did not find each other"
    config.check_processes(num_processes)


def leave_processes() -> None:
    """The last thing of a rank that is done. One that ends while still connected may abort at its very end, when another
    is still saving, and its launcher takes the whole run for failed.
    """
    with contextlib.suppress(RuntimeError):  # all is saved by now
        PartialState().destroy_process_group()


def from_rank_0(value: Any) -> Any:
    """Rank 0's `value`, on every rank. All of them must call it."""
    if PartialState().num_processes == 1:
        return value
    return broadcast_object_list([value])[0]


def leave_signals_to_rank_0() -> None:
    """A signal to the process group reaches every rank; only rank 0 heeds it, and the others stop when it does."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


class StopSign:
    """Whether to save and leave: rank 0 asks its job, and all ranks get the same answer at the same step."""

    def __init__(self, job: Job | None) -> None:
        self._job = job
        self._is_alone = PartialState().num_processes == 1
        # Over gloo, from memory to memory: over NCCL every step would wait for the GPU.
        self._group = None if self._is_alone else distributed.new_group(backend="gloo")

    def __call__(self) -> bool:
        told = self._job is not None and self._job.stop_requested
        if self._is_alone:
            return told
        answer = torch.tensor([int(told)])
        distributed.broadcast(answer, src=0, group=self._group)
        return bool(answer)

    def within_a_step(self) -> bool:
        """The same between two micro-batches; several processes do not ask, as that would have each wait for all."""
        return self._is_alone and self()

    def interruptible(self) -> AbstractContextManager[None]:
        """Inside, a request to stop raises StopRequested; not with several processes, of which the others would wait."""
        return self._job.interruptible() if self._job is not None and self._is_alone else nullcontext()
