"""The process that runs programs: `python -m pipeline.evaluation.forks`, started by `pipeline.evaluation.sandbox`.

It imports the libraries once, and forks a child for each program, which confines itself before it runs a line of it.
Reads one JSON object per line on stdin, writes one per line on stdout, and ends when stdin does:

    {"program": "...", "check": "...", "seconds": 10, "memory_bytes": 1e9}  ->  {"stage": "passed", "error": ""}

`stage` is how far the program came: `parse`, `run`, `check` (where it failed), or `passed`; `none` when it could not be
started. One program at a time. A program that wants to pass can say so itself: the figures trust it not to cheat.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import types
from pathlib import Path
from typing import Any

from pipeline.core.confinement import Confinement, confine_program
from pipeline.core.paths import ROOT

LIBRARIES = (
    "numpy",
    "pandas",
    "matplotlib.pyplot",
    "seaborn",
    "sklearn.linear_model",
    "sklearn.ensemble",
    "scipy.stats",
)
FILE_BYTES = 4_000_000
MAX_FOLDER_BYTES = 64_000_000
MAX_ENTRIES = 1_000
"""Of all that a program has written; more ends it."""
STAGES = ("none", "parse", "run", "check", "passed")
POLL_SECONDS = 0.05
MAX_ANSWER_BYTES = 4_096
MAX_ERROR_CHARACTERS = 200


def main() -> None:
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    libraries = [name for name in LIBRARIES if _imported(name)]
    _forget_own_modules()
    gc.freeze()  # else each child would copy all memory at its first collection
    print(json.dumps({"libraries": libraries}), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(_run(json.loads(line))), file=answers, flush=True)


def _imported(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    if name == "matplotlib.pyplot":  # reads its fonts
        pyplot = sys.modules[name]
        pyplot.figure().canvas.draw()
        pyplot.close("all")
    return True


def _forget_own_modules() -> None:
    """A program cannot import this project: it is not in memory, and its files are closed to it."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "pipeline"]:
        del sys.modules[name]
    sys.path[:] = [path for path in sys.path if path and Path(path).resolve() != ROOT]


def _run(request: dict[str, Any]) -> dict[str, str]:
    try:
        folder = Path(tempfile.mkdtemp(prefix="program-"))
        reading, writing = os.pipe()
        child = os.fork()
    except OSError as error:
        return {"stage": "none", "error": str(error)}
    if child == 0:
        os.close(reading)
        _become_program(request, folder, writing)
    os.close(writing)
    try:
        return _watch(child, reading, folder, request["seconds"])
    finally:
        os.close(reading)
        for command in (["chmod", "-R", "u+rwx"], ["rm", "-rf"]):  # shutil cannot delete folders nested deeply
            subprocess.run([*command, "--", folder], stderr=subprocess.DEVNULL, check=False)


def _watch(child: int, reading: int, folder: Path, seconds: float) -> dict[str, str]:
    """Wait for the child's end, and kill it when it takes too long or writes too much. No child outlives this."""
    end = time.monotonic() + seconds
    answer, why = b"", ""
    status = 0
    try:
        while True:
            if select.select([reading], [], [], POLL_SECONDS)[0]:
                part = os.read(reading, MAX_ANSWER_BYTES)
                answer = (answer + part)[-MAX_ANSWER_BYTES:]
                if not part:
                    break
            if time.monotonic() > end:
                why = f"it took longer than {seconds:g} s"
            elif _is_too_much(folder):
                why = f"it wrote more than {MAX_FOLDER_BYTES // 10**6} MB or {MAX_ENTRIES:,} files"
            if why:
                break
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    return _outcome(answer, why or _cause(status))


def _outcome(answer: bytes, cause: str) -> dict[str, str]:
    """What the child has reported last: a stage that it came to, or its end."""
    lines = [line for line in answer.decode(errors="replace").split("\n") if line]
    if not lines:
        return {"stage": "none", "error": cause}
    with contextlib.suppress(ValueError, TypeError, KeyError, RecursionError):
        last = json.loads(lines[-1])
        stage, error = str(last["stage"]), last.get("error")
        if stage in STAGES:
            return {"stage": stage, "error": cause if error is None else str(error)[:MAX_ERROR_CHARACTERS]}
    return {"stage": "run", "error": "it wrote into the pipe of the sandbox"}


def _cause(status: int) -> str:
    if not os.WIFSIGNALED(status):
        return f"it exited with status {os.waitstatus_to_exitcode(status)}"
    number = os.WTERMSIG(status)
    with contextlib.suppress(ValueError):
        return f"it was killed by {signal.Signals(number).name}"
    return f"it was killed by signal {number}"


def _is_too_much(folder: Path) -> bool:
    """Whether a program has written too much, or so that it cannot be told."""
    num_bytes = num_entries = 0
    folders = [os.fspath(folder)]
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    num_entries += 1
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    else:
                        num_bytes += entry.stat(follow_symlinks=False).st_size
                    if num_bytes > MAX_FOLDER_BYTES or num_entries > MAX_ENTRIES:
                        return True
        except FileNotFoundError:  # deleted meanwhile
            continue
        except OSError:
            return True
    return False


# ---- the child ----


def _become_program(request: dict[str, Any], folder: Path, writing: int) -> None:
    """Run the program, and exit. Nothing of the parent's is open here but the pipe for the answer."""
    try:
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        os.dup2(writing, 3)
        os.closerange(4, 65_536)
        os.setsid()
        os.environ.clear()
        os.environ.update(HOME=str(folder), MPLBACKEND="Agg", TMPDIR=str(folder), PATH=os.defpath)
        tempfile.tempdir = None
        confine_program(
            Confinement(
                memory_bytes=int(request["memory_bytes"]),
                file_bytes=FILE_BYTES,
                folder=folder,
                readable=(Path("/proc/self/maps"),),  # scikit-learn looks there for libraries with threads
            ),
            cpu_seconds=int(request["seconds"]) + 1,
        )
        _tell(*_tried(request["program"], request["check"]))
    except OSError as error:
        _tell("none", str(error))
    finally:
        os._exit(0)


def _tried(program: str, check: str) -> tuple[str, str]:
    """The stage at which it failed, with the error; or `passed`."""
    own = sys.modules["__main__"] = types.ModuleType("__main__")
    names = vars(own)
    stage = "parse"
    _tell(stage, None)
    try:
        code = compile(program, "<program>", "exec", dont_inherit=True)
        stage = "run"
        _tell(stage, None)
        exec(code, names)
        stage = "check"
        _tell(stage, None)
        exec(compile(check, "<check>", "exec", dont_inherit=True), names)
    except BaseException as error:
        return stage, "".join(traceback.format_exception_only(error)).strip()[-MAX_ERROR_CHARACTERS:]
    return "passed", ""


def _tell(stage: str, error: str | None) -> None:
    """Report to the parent. Without an error: this stage begins."""
    with contextlib.suppress(OSError):
        os.write(3, json.dumps({"stage": stage, "error": error}).encode(errors="replace") + b"\n")


if __name__ == "__main__":
    main()
