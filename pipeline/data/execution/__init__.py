"""Runs one pure function over many tasks, each of which writes one output: `local` on this machine, `ray` on many.

    storage    small files at any address, read and replaced as a whole
    tasks      what every executor shares: the tasks that are left, how often each was tried, how errors are returned
    local      this process, or worker processes that we start
    worker     the main program of such a worker process
    cluster    Ray: on this machine's loopback, or the cluster that RAY_ADDRESS names

Only the outputs on disk count: a task whose output exists is never run again, by any engine in any process. Does not
depend on shards or tokens. Importing it imports neither polars nor Ray.
"""

from __future__ import annotations

from pipeline.config.schema import ENGINES
from pipeline.core.errors import InputError, require
from pipeline.data.execution.tasks import Executor, ShouldStop, Work, never

__all__ = ["Executor", "ShouldStop", "Work", "never", "open_executor"]


def open_executor(name: str, workers: int, *, parts: str | None = None) -> Executor:
    """The engine `name` with at most `workers` tasks at a time. Tasks on this machine see the credentials for the
    address `parts`. Starts nothing yet.

    Raises InputError when there is no such engine, or when Ray is requested and not installed.
    """
    require(workers >= 1, "workers", workers, "set it to 1 or more")
    if name == "local":
        from pipeline.data.execution.local import LocalExecutor

        return LocalExecutor(workers, parts)
    if name == "ray":
        from pipeline.data.execution.cluster import ClusterExecutor

        return ClusterExecutor(workers, parts)
    raise InputError(f"engine is {name!r}; set it to one of {', '.join(ENGINES)}.")
