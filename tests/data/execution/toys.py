"""A toy task that writes one small file, functions that run it correctly or fail, and checks for any engine.

The functions record that they began, and in which process, so that a test can count attempts and kill the right one.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from pipeline.core.atomic_io import append_line, read_lines, write_text
from pipeline.core.errors import InputError, PipelineError
from pipeline.data.execution import Executor, ShouldStop, never
from pipeline.data.execution.worker import MAX_BYTES
from pipeline.data.progress import Stopped
from tests.waiting import eventually, is_gone


@dataclass(frozen=True)
class Toy:
    folder: Path
    number: int

    @property
    def output(self) -> Path:
        return self.folder / f"{self.number}.txt"

    @property
    def begun(self) -> Path:
        return self.folder / f"{self.number}.begun"

    @property
    def pids(self) -> list[int]:
        """The processes that began it, one for each attempt."""
        return [row["pid"] for row in read_lines(self.begun)]


def toys(folder: Path, count: int = 6) -> list[Toy]:
    return [Toy(folder, number) for number in range(count)]


def is_done(toy: Toy) -> bool:
    return toy.output.exists()


def outputs(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.txt"))}


def begin(toy: Toy) -> int:
    """Record that this process begins it. Returns how many processes began it before."""
    append_line(toy.begun, {"pid": os.getpid()})
    return len(toy.pids) - 1


# ---- functions ----
def write(toy: Toy, should_stop: ShouldStop) -> str:
    begin(toy)
    write_text(toy.output, f"square of {toy.number}: {toy.number**2}\n")
    return "ignored"


def hang_at_first(toy: Toy, should_stop: ShouldStop) -> None:
    """Number 2 hangs at its first attempt."""
    if begin(toy) == 0 and toy.number == 2:
        time.sleep(600)
    write_text(toy.output, f"square of {toy.number}: {toy.number**2}\n")


def hang(toy: Toy, should_stop: ShouldStop) -> None:
    begin(toy)
    time.sleep(600)


def die(toy: Toy, should_stop: ShouldStop) -> None:
    """Number 1 always kills its process."""
    if begin(toy) >= 0 and toy.number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    write_text(toy.output, "done\n")


def refuse(toy: Toy, should_stop: ShouldStop) -> None:
    """Number 1 raises an error, the others hang."""
    begin(toy)
    if toy.number == 1:
        raise InputError("The bird is 1; give it 4.")
    time.sleep(600)


class StubbornError(Exception):
    """Can be pickled, but not unpickled."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__(f"{first} and {second}")


def fail(toy: Toy, should_stop: ShouldStop) -> None:
    raise StubbornError(1, 2)


def forget(toy: Toy, should_stop: ShouldStop) -> None:
    """Writes nothing."""


def take_too_much_memory(toy: Toy, should_stop: ShouldStop) -> None:
    """Reserves more than a worker may, without touching it."""
    bytearray(MAX_BYTES + 2**20)


def take_too_much_memory_and_write(toy: Toy, should_stop: ShouldStop) -> None:
    take_too_much_memory(toy, should_stop)
    write(toy, should_stop)


def write_environment(toy: Toy, should_stop: ShouldStop) -> None:
    """Writes its environment."""
    write_text(toy.output, "\n".join(f"{name}={value}" for name, value in sorted(os.environ.items())))


# ---- what any engine must do ----
def run(engine: Executor, function: Callable[[Toy, ShouldStop], object], tasks: list[Toy]) -> list[int]:
    """Run all tasks. Returns the numbers that were reported as done, sorted."""
    done: list[int] = []
    engine.run(function, tasks, is_done, lambda toy: done.append(toy.number), never)
    return sorted(done)


def check_it_runs_what_is_missing(engine: Executor, folder: Path) -> None:
    tasks = toys(folder)
    write_text(tasks[3].output, "was there before\n")
    assert run(engine, write, tasks) == [0, 1, 2, 3, 4, 5]
    expected = {f"{n}.txt": f"square of {n}: {n**2}\n".encode() for n in range(6)}
    assert outputs(folder) == {**expected, "3.txt": b"was there before\n"}
    assert [len(toy.pids) for toy in tasks] == [1, 1, 1, 0, 1, 1]
    assert run(engine, write, tasks) == [0, 1, 2, 3, 4, 5]
    assert sum(len(toy.pids) for toy in tasks) == 5, "nothing is done twice"


def check_a_killed_worker_costs_one_task(engine: Executor, folder: Path) -> None:
    tasks, killed = toys(folder), []

    def kill_it_when_the_others_are_done() -> bool:
        if not killed and len(outputs(folder)) == 5:
            killed.extend(tasks[2].pids)
            os.kill(killed[0], signal.SIGKILL)
        return False

    done: list[int] = []
    engine.run(hang_at_first, tasks, is_done, lambda toy: done.append(toy.number), kill_it_when_the_others_are_done)
    assert sorted(done) == [0, 1, 2, 3, 4, 5]
    assert len(outputs(folder)) == 6
    assert [len(toy.pids) for toy in tasks] == [1, 1, 2, 1, 1, 1]
    assert tasks[2].pids[0] == killed[0] != tasks[2].pids[1]


def check_a_poisonous_task_is_named(engine: Executor, folder: Path) -> None:
    tasks = toys(folder, 4)
    with pytest.raises(PipelineError, match=r"number=1\) ended its worker 3 times .*; use fewer workers"):
        run(engine, die, tasks)
    assert len(tasks[1].pids) == 3
    assert {len(tasks[n].pids) for n in (0, 2, 3)} <= {0, 1}, "the others are not blamed"


def check_an_error_arrives_as_it_was_raised(engine: Executor, folder: Path) -> None:
    with pytest.raises(InputError) as caught:
        run(engine, refuse, toys(folder, 2))
    assert (type(caught.value), str(caught.value)) == (InputError, "The bird is 1; give it 4.")
    assert "in refuse" in caught.value.__notes__[0], "the worker's traceback is kept"


def check_it_stops(engine: Executor, folder: Path) -> None:
    """Stop while every worker runs a task, which none of them ends."""
    tasks = toys(folder)

    def stop_once_two_have_begun() -> bool:
        return sum(len(toy.pids) for toy in tasks) == 2

    with pytest.raises(Stopped):
        engine.run(hang, tasks, is_done, lambda toy: None, stop_once_two_have_begun)
    assert outputs(folder) == {}
    wait_until_gone([pid for toy in tasks for pid in toy.pids])


# ---- processes ----
def children() -> set[int]:
    """Every living process below this one."""
    return {process.pid for process in psutil.Process().children(recursive=True) if not is_gone(process.pid)}


@contextmanager
def nothing_left_behind() -> Iterator[None]:
    before = children()
    yield
    wait_until_gone(children() - before)


def wait_until_gone(pids: set[int] | list[int]) -> None:
    eventually(lambda: all(is_gone(pid) for pid in pids), f"the end of {pids}", seconds=150)
