"""What every engine has in common: the tasks that are left, how often each was tried, and how an error travels."""

from __future__ import annotations

import os
import pickle
import traceback
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from pipeline.core.errors import PipelineError

MAX_ATTEMPTS = 3
"""How many processes one task may cost."""

POLL_SECONDS = 0.1
"""How long an engine waits for its workers before it asks again whether to stop."""

THREADS_OF = (
    "POLARS_MAX_THREADS",
    "RAYON_NUM_THREADS",  # tokenizers
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
)
"""Libraries read these once, when they are imported."""

ShouldStop = Callable[[], bool]

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)


class Work(Protocol[T_contra]):
    """What is done with a task. In the caller's own process `should_stop` is the caller's, and a long task asks it now
    and then and raises Stopped; in a worker it never holds, because a worker is ended instead.
    """

    def __call__(self, task: T_contra, should_stop: ShouldStop, /) -> object: ...


def never() -> bool:
    """The `should_stop` of a worker."""
    return False


@dataclass
class Attempt(Generic[T]):
    """A task, and how many processes it has cost so far."""

    task: T
    num_lost: int = 0


class Tasks(Generic[T]):
    """The tasks whose output is missing, in their order; those that must be tried again come last."""

    def __init__(self, tasks: Iterable[T], is_done: Callable[[T], bool], on_done: Callable[[T], None]) -> None:
        self._is_done, self._on_done = is_done, on_done
        self._waiting: deque[Attempt[T]] = deque()
        for task in tasks:
            if is_done(task):
                on_done(task)
            else:
                self._waiting.append(Attempt(task))

    def __len__(self) -> int:
        return len(self._waiting)

    def take(self) -> Attempt[T]:
        return self._waiting.popleft()

    def is_done(self, attempt: Attempt[T]) -> bool:
        return self._is_done(attempt.task)

    def returned(self, attempt: Attempt[T]) -> None:
        """The function came to its end. Raises PipelineError when its output is not to be seen here."""
        if not self.is_done(attempt):
            raise PipelineError(
                f"{attempt.task} was done, and its output is not there; use a folder that this process and every "
                "worker see under the same path."
            )
        self._on_done(attempt.task)

    def lost(self, attempt: Attempt[T], reason: str) -> None:
        """Its process died: try it again, unless its output was there already. Raises PipelineError the last time."""
        if self.is_done(attempt):
            self._on_done(attempt.task)
            return
        attempt.num_lost += 1
        if attempt.num_lost == MAX_ATTEMPTS:
            raise PipelineError(
                f"{attempt.task} ended its worker {MAX_ATTEMPTS} times (the last: {reason}); use fewer workers, as "
                "memory is the usual reason, or see the log for another."
            )
        print(f"a worker was lost ({reason}); {attempt.task} will be tried again", flush=True)
        self._waiting.append(attempt)


def outcome(work: Callable[[], object]) -> Exception | None:
    """Do `work` in a worker: None, or what it raised, with its traceback as a note, in a form that can be pickled."""
    try:
        work()
    except Exception as error:
        trace = "".join(traceback.format_exception(error))
        travelled = _travelling(error)
        travelled.add_note(f"In the worker:\n{trace}")
        return travelled
    return None


def _travelling(error: Exception) -> Exception:
    """`error` as it will arrive; one of another type when its own cannot be pickled, or not be read again."""
    try:
        copy = pickle.loads(pickle.dumps(error))
    except Exception:  # a class's own __init__ and __reduce__ run here, and raise what they like
        return RuntimeError(f"{type(error).__name__}: {error}")
    return copy if isinstance(copy, Exception) else RuntimeError(f"{type(error).__name__}: {error}")


def thread_limits(threads: int) -> dict[str, str]:
    """Environment variables that keep a worker to `threads` threads, set before it imports anything."""
    return dict.fromkeys(THREADS_OF, str(threads))


def threads_per_worker(workers: int) -> int:
    """So many that all workers together do not outnumber this process's processors."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, processors // workers)
