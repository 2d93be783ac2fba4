"""Names the rank that a distributed run has lost, instead of the error of the collective operation that failed then.

Gloo and NCCL report a closed connection. They do not know that the other process was killed, and which one it was.
"""

from __future__ import annotations

import contextlib
import os
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass

from accelerate import PartialState
from accelerate.utils import gather_object
from torch import distributed

from pipeline.core.errors import PipelineError
from pipeline.core.paths import RunFolder
from pipeline.core.processes import ProcessId, identify

OF_A_CONNECTION = ("gloo", "nccl", "connection", "socket", "timed out", "timeout")
"""Parts of the messages of errors between ranks. On NCCL the exception type identifies some of them."""
DEATH_SECONDS = 5.0
"""How long a process may take to end after its connections are closed."""


@dataclass(frozen=True)
class RankProcess:
    """The process of one rank."""

    rank: int
    host: str
    process: ProcessId

    @classmethod
    def own(cls) -> RankProcess:
        return cls(PartialState().process_index, platform.node(), identify(os.getpid()))

    def has_ended(self) -> bool:
        """Whether it has ended; False also for a process of another machine, which cannot be seen from here."""
        return self.host == platform.node() and not self.process.is_alive()


class Ranks:
    """The processes of all ranks of a run."""

    def __init__(self, processes: list[RankProcess], run: RunFolder) -> None:
        self._own, self._run = RankProcess.own(), run
        self._others = [process for process in processes if process.rank != self._own.rank]

    @classmethod
    def gather(cls, run: RunFolder) -> Ranks:
        """All ranks must call it."""
        return cls(gather_object([RankProcess.own()]), run)

    @contextlib.contextmanager
    def naming_the_lost(self) -> Iterator[None]:
        """Inside, an error between ranks becomes a PipelineError that names the lost one; any other error is raised
        unchanged, as the rank itself has failed then.
        """
        try:
            yield
        except RuntimeError as error:
            if not self._others or not is_of_a_connection(error):
                raise
            raise self._lost() from error

    def _lost(self) -> PipelineError:
        deadline = time.monotonic() + DEATH_SECONDS
        while not (ended := [process for process in self._others if process.has_ended()]):
            if time.monotonic() > deadline:
                return self._unreachable()
            time.sleep(0.05)
        names = ", ".join(f"rank {one.rank} (process {one.process.pid} on {one.host})" for one in ended)
        return PipelineError(
            f"Run {self._run.id} has lost {names} of its {len(self._others) + 1} ranks: it was killed, as when memory runs "
            f"out, or it failed with an error that {self._run.log.name} has; {self._run.again} to continue from its last "
            "checkpoint."
        )

    def _unreachable(self) -> PipelineError:
        hosts = ", ".join(sorted({process.host for process in self._others}))
        return PipelineError(
            f"Run {self._run.id} has lost the connection to another of its {len(self._others) + 1} ranks ({hosts}); look "
            f"there and into {self._run.log.name} for the reason, then {self._run.again} to continue from its last checkpoint."
        )


def is_of_a_connection(error: RuntimeError) -> bool:
    """Whether a collective operation failed because another rank did not answer."""
    message = str(error).lower()
    return isinstance(error, distributed.DistError) or any(part in message for part in OF_A_CONNECTION)
