"""Processes whose threads all call `start_training` at one instant, as many pages and commands at once would.

Does not import torch: the processes are started anew, not forked.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path

from pipeline.config.requests import JobRequest
from pipeline.core.errors import PipelineError
from pipeline.core.paths import JobFolder
from pipeline.core.settings import Settings
from pipeline.jobs import job, runs, worker

SPAWN = multiprocessing.get_context("spawn")
PATIENCE_SECONDS = 400
PAUSE_SECONDS = 0.3
Plant = Callable[[], None]


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One call of `start_training`, for a run of one step of tests.jobs.sleeper."""

    run_id: str | None = None
    queue: bool = False
    request_id: str | None = None


@dataclass(frozen=True)
class Answer:
    """What one call returned, or the error it raised."""

    run: str | None
    error: str | None = None
    error_type: str | None = None


class Askers:
    """`with Askers(num_processes, num_threads) as askers: answers = askers.ask(home, asks)`."""

    def __init__(self, num_processes: int, num_threads: int, plant: Plant | None = None) -> None:
        """`num_threads`: in each process. `plant`: a bug for every process."""
        self.num_threads = num_threads
        self._release: Barrier = SPAWN.Barrier(num_processes * num_threads)
        self._pipes, self._processes = [], []
        for _ in range(num_processes):
            ours, theirs = SPAWN.Pipe()
            process = SPAWN.Process(target=_serve, args=(theirs, self._release, plant), daemon=True)
            process.start()
            self._pipes.append(ours)
            self._processes.append(process)

    def __enter__(self) -> Askers:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.join()

    def ask(self, home: Path, asks: Sequence[Ask]) -> list[Answer]:
        """Make all calls at once, one for each thread; returns what each of them got, in their order."""
        assert len(asks) == len(self._pipes) * self.num_threads
        for number, pipe in enumerate(self._pipes):
            pipe.send((home, asks[number * self.num_threads : (number + 1) * self.num_threads]))
        answers: list[Answer] = []
        for pipe in self._pipes:
            assert pipe.poll(PATIENCE_SECONDS), "a process has not answered"
            answers += pipe.recv()
        return answers


def _serve(pipe: Connection, release: Barrier, plant: Plant | None) -> None:
    worker.wake = lambda settings: None
    if plant is not None:
        plant()
    while True:
        home, asks = pipe.recv()
        with ThreadPoolExecutor(len(asks)) as pool:
            pipe.send(list(pool.map(lambda ask, home=home: _ask(home, ask, release), asks)))  # type: ignore[misc]


def _ask(home: Path, ask: Ask, release: Barrier) -> Answer:
    release.wait()
    try:
        run = runs.start_training(
            Settings(home=home),
            corpus="ready",
            preset="tiny",
            recipe="accelerate",
            changes={"seed": 1},
            run_id=ask.run_id,
            queue=ask.queue,
            request_id=ask.request_id,
        )
    except PipelineError as error:
        return Answer(None, str(error), type(error).__name__)
    return Answer(run)


# ---- bugs that the trials must detect ----


def pauses_before_writing() -> None:
    """Not a bug while the lock is held: it gives all other calls the time to pass the checks, if they can."""
    submit = runs.submit

    def submit_late(folder: JobFolder, request: JobRequest) -> None:
        time.sleep(PAUSE_SECONDS)
        submit(folder, request)

    runs.submit = submit_late


def has_no_request_lock() -> None:
    @contextlib.contextmanager
    def unlocked(path: Path) -> Iterator[bool]:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield True

    job.locked = unlocked  # type: ignore[assignment]
    pauses_before_writing()
