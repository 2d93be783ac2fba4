"""Runs programs that a model wrote, several at a time, each in a confined process of its own. Does not depend on torch.

with Sandbox() as sandbox:
    outcomes = sandbox.run([Program("import os\nx = 1\n", "assert x == 1")])
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from types import TracebackType

from pipeline.core.environment import child_environment, num_cores
from pipeline.core.errors import PipelineError
from pipeline.core.paths import ROOT
from pipeline.core.program_needs import check_kernel, check_libraries

MODULE = "pipeline.evaluation.forks"
SECONDS = 10.0
MEMORY_BYTES = 2 * 10**9
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB_MAXIMUM")}
"""A process with threads cannot be forked."""


@dataclass(frozen=True)
class Program:
    text: str
    check: str


@dataclass(frozen=True)
class ProgramResult:
    """How far a program came."""

    stage: str
    """Where it failed: parse, run or check; or passed."""
    error: str
    """Why; "" when it passed."""

    @property
    def parses(self) -> bool:
        return self.stage != "parse"

    @property
    def runs(self) -> bool:
        return self.stage in ("check", "passed")

    @property
    def is_right(self) -> bool:
        return self.stage == "passed"


class Sandbox:
    """One forking process for each core. Thread-safe."""

    def __init__(self, *, seconds: float = SECONDS, memory_bytes: int = MEMORY_BYTES, num_processes: int = 0) -> None:
        """Raises InputError where this system cannot confine a program, or lacks a library of the tasks."""
        check_kernel()
        self._limits = {"seconds": seconds, "memory_bytes": memory_bytes}
        self._folder = tempfile.TemporaryDirectory(prefix="sandbox-")
        self._free: SimpleQueue[_Forks] = SimpleQueue()
        self._all = [_Forks(self._folder.name) for _ in range(num_processes or num_cores())]
        try:
            for forks in self._all:
                forks.start()
                self._free.put(forks)
        except BaseException:
            self.close()
            raise

    def run(self, programs: Iterable[Program]) -> Generator[ProgramResult]:
        """The outcome of each program, in their order, as soon as it is known."""
        with ThreadPoolExecutor(len(self._all)) as threads:
            yield from threads.map(self._run, programs)

    def close(self) -> None:
        for forks in self._all:
            forks.end()
        with contextlib.suppress(OSError, RecursionError):  # what is left is in the folder for temporary files
            self._folder.cleanup()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _run(self, program: Program) -> ProgramResult:
        forks = self._free.get()
        try:
            return forks.run({"program": program.text, "check": program.check, **self._limits})
        finally:
            self._free.put(forks)


class _Forks:
    """One forking process and the pipe to it."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Raises InputError when a library is missing."""
        environment = {**child_environment(), **ONE_THREAD, "MPLBACKEND": "Agg", "TMPDIR": self._folder}
        environment |= {"JOBLIB_MULTIPROCESSING": "0"}  # n_jobs then takes threads no more, whose locks are files
        environment |= {"HOME": self._folder, "MPLCONFIGDIR": self._folder, "PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            cwd=self._folder,
            text=True,
            start_new_session=True,
        )
        check_libraries(self._hear()["libraries"])

    def run(self, request: dict[str, object]) -> ProgramResult:
        """A program that ends the forking process twice has failed. Raises PipelineError when a program cannot be started:
        that is no fault of its own.
        """
        for _ in range(2):
            assert self._process is not None and self._process.stdin is not None
            try:
                self._process.stdin.write(json.dumps(request) + "\n")
                self._process.stdin.flush()
                outcome = ProgramResult(**self._hear())
            except (OSError, PipelineError):
                self.end()
                self.start()
                continue
            if outcome.stage == "none":
                raise PipelineError(f"The sandbox cannot start a program: {outcome.error}; free memory and disk.")
            return outcome
        return ProgramResult("run", "it ended the sandbox")

    def end(self) -> None:
        if self._process is not None:
            self._process.kill()
            with self._process:
                pass

    def _hear(self) -> dict[str, str]:
        assert self._process is not None and self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise PipelineError("The sandbox ended before it answered.")
        found: dict[str, str] = json.loads(line)
        return found
