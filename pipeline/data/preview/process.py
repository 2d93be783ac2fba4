"""One scan process, seen from the page: started, asked, watched and ended. Knows nothing of Gradio."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from pipeline.core.environment import child_environment
from pipeline.core.errors import InputError, PipelineError
from pipeline.data.preview.messages import LONGEST_MESSAGE, line_of, message_of, scan_of
from pipeline.data.preview.scan import Scan

MODULE = "pipeline.data.preview"
MEMORY_BYTES = 3 * 2**29
"""1.5 GB of data: a look at 20,000 installed files takes 0.6, remembered rows and threads included."""
DISK_BYTES = 2**28
"""In its own folder."""
MESSAGES_PER_SECOND = 100
FIRST_MESSAGES = 500
MOST_TOLD = 4_000
"""Characters of a traceback that are logged."""
MEMORY_SPARE = 1.25
"""Memory that is seen from outside holds the program itself too."""


class Look:
    """One question to a scan process, and the newest of its answers. Any thread may wait for the next one."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.newest: Scan | None = None
        self.error: PipelineError | None = None
        self.is_over = False
        self.changed = threading.Condition()

    def tell(self, newest: Scan) -> None:
        with self.changed:
            if not self.is_over:
                self.newest = newest
            self.changed.notify_all()

    def end(self, error: PipelineError | None = None) -> None:
        """Its last word. Only the first counts."""
        with self.changed:
            if not self.is_over:
                self.error, self.is_over = error, True
            self.changed.notify_all()


class ScanProcess:
    """A process that reads one source. It ends when the page does: its stdin ends."""

    def __init__(self, source: str, *, builders: bool, scratch: Path, memory_bytes: int = MEMORY_BYTES) -> None:
        """`scratch`: below which its own folder is made; `builders`: whether `datasets` may read what we cannot."""
        self.source = source
        self.idle_since = self._started_at = time.monotonic()
        self._num_messages = 0
        self._memory_bytes = memory_bytes
        self._numbers = itertools.count(1)
        self._looks: dict[int, Look] = {}
        self._lock = threading.Lock()
        self._ended_because = ""
        scratch.mkdir(parents=True, exist_ok=True)
        self._folder = Path(tempfile.mkdtemp(dir=scratch))
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # a stranger's rows decide what is printed there
            cwd=self._folder,
            env=environment(self._folder),
            start_new_session=True,
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self._write({"source": source, "builders": builders, "folder": str(self._folder), "memory_bytes": memory_bytes})
        self._reader = threading.Thread(target=self._read, name="scan-reader", daemon=True)
        self._reader.start()

    @property
    def has_ended(self) -> bool:
        return bool(self._ended_because)

    @property
    def num_looks(self) -> int:
        """Questions that are not answered to their end."""
        return len(self._looks)

    def is_answering(self, look: Look) -> bool:
        """Whether it still works on `look`, also when nobody waits for that any more."""
        return look.number in self._looks

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, keywords: tuple[str, ...], match: str, limit: int, *, seconds: float, most_bytes: int) -> Look:
        """Start a scan. What the process refuses is the look's error."""
        with self._lock:
            look = Look(next(self._numbers))
            if self.has_ended:
                look.end(self._obituary())
                return look
            self._looks[look.number] = look
        question = {"keywords": keywords, "match": match, "limit": limit, "seconds": seconds, "bytes": most_bytes}
        self._write({"id": look.number, **question})
        return look

    def stop(self, look: Look) -> None:
        """Nobody waits for `look` any more. A source that is silent keeps it going until the process is ended."""
        self._write({"stop": look.number})

    def end(self, reason: str) -> None:
        """Kill the process, which has nothing to save. Looks that are not over fail with `reason`."""
        self._ended_because = self._ended_because or reason
        self._kill_group()

    def _kill_group(self) -> None:
        """It, and whatever it has started: it leads a session of its own."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def takes_too_much(self) -> bool:
        """Whether it has more memory or disk than it may; where the system sets the limit itself it never gets so far."""
        written = sum(path.stat().st_size for path in self._folder.rglob("*") if path.is_file())
        try:
            rss = psutil.Process(self.pid).memory_info().rss
        except psutil.Error:
            return False
        return rss > MEMORY_SPARE * self._memory_bytes or written > DISK_BYTES

    def _write(self, message: Mapping[str, Any]) -> None:
        with contextlib.suppress(OSError, ValueError), self._lock:  # it has ended: the reader sees that too and says so
            self._stdin.write(line_of(dict(message)))
            self._stdin.flush()

    def _read(self) -> None:
        while line := self._stdout.readline(LONGEST_MESSAGE):
            try:
                self._take(message_of(line))
                self._check_rate()
            except Exception as error:  # what it writes may be anything, a nesting without end say
                print(
                    f"The scan process of {self.source!r} wrote what is no answer: {type(error).__name__}",
                    file=sys.stderr,
                )
                self.end("it wrote what is no answer")
                break
        self._kill_group()
        code = self._process.wait()
        self._ended_because = self._ended_because or _cause(code, self._memory_bytes)
        with self._lock:
            looks = list(self._looks.values())
            self._looks.clear()
            with contextlib.suppress(OSError):
                self._stdin.close()
        self._stdout.close()
        for look in looks:
            look.end(self._obituary())
        shutil.rmtree(self._folder, ignore_errors=True)

    def _check_rate(self) -> None:
        """A process that writes without end would keep a thread of the page busy."""
        self._num_messages += 1
        if self._num_messages > FIRST_MESSAGES + MESSAGES_PER_SECOND * (time.monotonic() - self._started_at):
            raise ValueError("too many messages")

    def _take(self, message: dict[str, Any]) -> None:
        if "ready" in message:
            return
        with self._lock:
            look = self._looks.get(message["id"])
        if look is None:
            return
        if "scan" in message:
            look.tell(scan_of(message["scan"], look.newest.samples if look.newest else []))
            return
        look.end(self._error(message))
        with self._lock:
            self._looks.pop(look.number, None)
            self.idle_since = time.monotonic()

    def _error(self, message: dict[str, Any]) -> PipelineError | None:
        if "done" in message:
            return None
        if "memory" in message:
            return PipelineError(too_much_memory(self._memory_bytes))
        if "crash" in message:
            told = ascii(str(message["crash"])[:MOST_TOLD]).replace("\\n", "\n")
            print(f"A scan of {self.source!r} failed: {told}", file=sys.stderr)
            return PipelineError("The scan failed for a reason that it did not expect; try another source.")
        kind = InputError if message["exit_status"] == InputError.exit_status else PipelineError
        return kind(str(message["error"]))

    def _obituary(self) -> PipelineError:
        return PipelineError(f"The scan ended: {self._ended_because}.")


def environment(folder: Path, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What a scan process may see: no secret, and folders of its own for whatever libraries write."""
    own = {name: str(folder) for name in ("HOME", "TMPDIR", "HF_HOME", "XDG_CACHE_HOME", "MPLCONFIGDIR")}
    kept = {name: value for name, value in child_environment(environ).items() if name not in CACHES}
    # Xet's client is no Python and makes connections that no hook sees.
    return {**kept, **own, "HF_HUB_DISABLE_XET": "1", "ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_ARENA_MAX": "2"}


CACHES = ("HF_HUB_CACHE", "HF_DATASETS_CACHE", "PIPELINE_HOME")


def too_much_memory(most: int) -> str:
    return f"The scan needed more than the {most / 2**30:.1f} GB of memory that it may take; scan fewer files, or another source."


def _cause(code: int, memory_bytes: int) -> str:
    if code == -signal.SIGABRT:  # how code that is no Python ends when it gets no memory
        return f"it needed more than the {memory_bytes / 2**30:.1f} GB of memory that it may take"
    return (
        f"it was killed by {signal.Signals(-code).name}" if code < 0 else f"its process ended with exit status {code}"
    )
