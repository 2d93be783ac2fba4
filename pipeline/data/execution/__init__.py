"""Runs one pure function over many tasks, each of which writes one output: `local` on this machine, `ray` on many.

    storage    small files at any address, read and replaced whole
    tasks      what is left to do, how often each was tried, and how an error travels
    local      this process, or worker processes of our own
    worker     what such a process runs
    cluster    Ray: on this machine's loopback, or the cluster that RAY_ADDRESS names

Truth is the output on the disk: a task whose output exists is never run again, by whichever engine, in whichever
process. Knows nothing of shards or tokens. Importing it imports neither polars nor Ray.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from pipeline.config.schema import ENGINES
from pipeline.core.errors import InputError, require
from pipeline.data.execution.tasks import ShouldStop, Work, never

__all__ = ["Engine", "ShouldStop", "Work", "never", "open_engine"]

T = TypeVar("T")


class Engine(Protocol):
    """Where the tasks run."""

    def run(
        self,
        function: Work[T],
        tasks: Sequence[T],
        is_done: Callable[[T], bool],
        on_done: Callable[[T], None],
        should_stop: ShouldStop,
    ) -> None:
        """Call `function(task, should_stop)` for every task of which `is_done` says that its output is missing.

        `function` is a module's own and writes its output in one step; what it returns is ignored. Tasks are small,
        can be pickled and name absolute paths. `on_done(task)` is called here, in this process, for every task whose
        output is there, those that were there before included, in any order.

        A task whose process dies is tried again, the others go on. Raises PipelineError when one died MAX_ATTEMPTS
        times, Stopped soon after `should_stop()` holds, and what `function` raised as it raised it; in each case no
        worker is left behind.
        """


def open_engine(name: str, workers: int, *, parts: str | None = None) -> Engine:
    """The engine `name` with at most `workers` tasks at a time, which see the credentials for the address `parts`, if
    they run on this machine. Starts nothing yet.

    Raises InputError when there is no such engine, or Ray is asked for and not installed.
    """
    require(workers >= 1, "workers", workers, "set it to 1 or more")
    if name == "local":
        from pipeline.data.execution.local import LocalEngine

        return LocalEngine(workers, parts)
    if name == "ray":
        from pipeline.data.execution.cluster import ClusterEngine

        return ClusterEngine(workers, parts)
    raise InputError(f"engine is {name!r}; set it to one of {', '.join(ENGINES)}.")
