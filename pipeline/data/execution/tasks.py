"""What all engines share: the tasks that are left, how often each was tried, and how errors are returned."""

from __future__ import annotations

import pickle
import traceback
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from pipeline.core.environment import num_cores
from pipeline.core.errors import PipelineError

MAX_ATTEMPTS = 3
"""How many worker processes may die in the same task before it fails."""

POLL_SECONDS = 0.1
"""How long an engine waits for its workers before it checks again whether to stop."""

THREADS_OF = (
    "POLARS_MAX_THREADS",
    "RAYON_NUM_THREADS",  # tokenizers
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
)
"""Environment variables that libraries read once, when they are imported."""

ShouldStop = Callable[[], bool]

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)


class Work(Protocol[T_contra]):
    """The function that is run for a task. In the caller's own process `should_stop` is the caller's; a long task calls
    it now and then and raises Stopped. In a worker it is never true, because a worker is killed instead.
    """

    def __call__(self, task: T_contra, should_stop: ShouldStop, /) -> object: ...


def never() -> bool:
    """The `should_stop` in a worker."""
    return False


@dataclass
class Attempt(Generic[T]):
    """A task, and how many processes have died while running it."""

    task: T
    num_lost: int = 0


class Tasks(Generic[T]):
    """The tasks whose output is missing, in order; those that must be tried again come last."""

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
        """The function has returned. Raises PipelineError when its output is not visible here."""
        if not self.is_done(attempt):
            raise PipelineError(
                f"{attempt.task} was done, and its output is not there; use a folder that this process and every "
                "worker see under the same path."
            )
        self._on_done(attempt.task)

    def lost(self, attempt: Attempt[T], reason: str) -> None:
        """Its process died: queue it again unless its output exists. Raises PipelineError at the last attempt."""
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


class Executor(ABC):
    """Runs tasks somewhere."""

    def run(
        self,
        function: Work[T],
        tasks: Sequence[T],
        is_done: Callable[[T], bool],
        on_done: Callable[[T], None],
        should_stop: ShouldStop,
    ) -> None:
        """Call `function(task, should_stop)` for every task whose output is missing according to `is_done`.

        `function` is defined at module level and writes its output in one step; its return value is ignored. Tasks are
        small, can be pickled and use absolute paths. `on_done(task)` is called in this process for every task whose
        output exists, including those that existed before, in any order.

        A task whose process dies is tried again; the others continue. Raises PipelineError when the process of a task
        died MAX_ATTEMPTS times, Stopped soon after `should_stop()` is true, and exceptions of `function` as they were
        raised. In each case no worker is left running.
        """
        self.run_tasks(function, Tasks(tasks, is_done, on_done), should_stop)

    @abstractmethod
    def run_tasks(self, function: Work[T], left: Tasks[T], should_stop: ShouldStop) -> None:
        """`run`, for the tasks whose output is missing."""


def outcome(work: Callable[[], object]) -> Exception | None:
    """Run `work` in a worker. Returns None, or its exception in a picklable form, with the traceback as a note."""
    try:
        work()
    except Exception as error:
        trace = "".join(traceback.format_exception(error))
        picklable = _picklable(error)
        picklable.add_note(f"In the worker:\n{trace}")
        return picklable
    return None


def _picklable(error: Exception) -> Exception:
    """`error` as it will arrive: a copy, or a RuntimeError when it cannot be pickled or unpickled."""
    try:
        copy = pickle.loads(pickle.dumps(error))
    except Exception:  # a class's own __init__ and __reduce__ run here and may raise anything
        return RuntimeError(f"{type(error).__name__}: {error}")
    return copy if isinstance(copy, Exception) else RuntimeError(f"{type(error).__name__}: {error}")


def thread_limits(threads: int) -> dict[str, str]:
    """Environment variables that limit a worker to `threads` threads; they must be set before it imports anything."""
    return dict.fromkeys(THREADS_OF, str(threads))


def threads_per_worker(workers: int) -> int:
    """Threads for each of `workers` processes, so that all together use no more than this process's cores."""
    return max(1, num_cores() // workers)
