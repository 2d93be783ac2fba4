"""One scan process, as seen from the page: starts, queries, monitors and ends it. Knows nothing of Gradio."""

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

from pipeline.config.source_spec import reads_index
from pipeline.core.environment import child_environment
from pipeline.core.errors import InputError, PipelineError
from pipeline.data.preview.messages import LONGEST_MESSAGE, line_of, message_of, scan_of
from pipeline.data.preview.scan import Scan
from pipeline.data.sources.index_settings import index_settings
from pipeline.data.sources.sdist_store import SdistStore

MODULE = "pipeline.data.preview"
MEMORY_BYTES = 3 * 2**29
"""1.5 GB of data: a scan of 20,000 installed files takes 0.6 GB, including cached rows and threads."""
DISK_BYTES = 2**28
"""Maximum bytes in its own folder."""
MESSAGES_PER_SECOND = 100
FIRST_MESSAGES = 500
MAX_TOLD = 4_000
"""Characters of a traceback that are logged."""
ARCHIVES = "sdists"
"""The subfolder of its own folder for the archives that it downloads."""
MEMORY_SPARE = 1.25
"""Factor on the memory limit, as memory measured from outside includes the program itself."""


class ScanHandle:
    """One request to a scan process, and its latest result. Any thread may wait for the next one."""

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
        """Finishes the request. Only the first call counts."""
        with self.changed:
            if not self.is_over:
                self.error, self.is_over = error, True
            self.changed.notify_all()


class ScanProcess:
    """A process that reads one source. It ends when the page ends, as its stdin then ends."""

    def __init__(
        self,
        source: str,
        *,
        builders: bool,
        scratch: Path,
        memory_bytes: int = MEMORY_BYTES,
        archives: Path | None = None,
    ) -> None:
        """`scratch`: the parent of its own folder; `builders`: whether `datasets` may read what we cannot; `archives`:
        the folder of source distributions, in which those stay that it downloads. Raises InputError when pip's settings
        cannot be read.
        """
        index = index_settings().to_dict() if reads_index(source) else None
        self._archives = archives
        self.source = source
        self.idle_since = self._started_at = time.monotonic()
        self._num_messages = 0
        self._memory_bytes = memory_bytes
        self._numbers = itertools.count(1)
        self._handles: dict[int, ScanHandle] = {}
        self._lock = threading.Lock()
        self._ended_because = ""
        scratch.mkdir(parents=True, exist_ok=True)
        self._folder = Path(tempfile.mkdtemp(dir=scratch))
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # untrusted rows decide what is printed there
            cwd=self._folder,
            env=environment(self._folder),
            start_new_session=True,
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        setup = {"source": source, "builders": builders, "folder": str(self._folder), "memory_bytes": memory_bytes}
        # Through its standard input: an address of an index may contain a password, and an environment can be read.
        self._write({**setup, "index": index, "archives": archives and str(archives)})
        self._reader = threading.Thread(target=self._read, name="scan-reader", daemon=True)
        self._reader.start()

    @property
    def has_ended(self) -> bool:
        return bool(self._ended_because)

    @property
    def num_looks(self) -> int:
        """Number of unfinished requests."""
        return len(self._handles)

    def is_answering(self, handle: ScanHandle) -> bool:
        """Whether the process still works on this scan, even if nobody waits for it any more."""
        return handle.number in self._handles

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, keywords: tuple[str, ...], match: str, limit: int, *, seconds: float, max_bytes: int) -> ScanHandle:
        """Starts a scan. If the process refuses it, the returned ScanHandle has the error."""
        with self._lock:
            handle = ScanHandle(next(self._numbers))
            if self.has_ended:
                handle.end(self._ended_error())
                return handle
            self._handles[handle.number] = handle
        request = {"keywords": keywords, "match": match, "limit": limit, "seconds": seconds, "bytes": max_bytes}
        self._write({"id": handle.number, **request})
        return handle

    def stop(self, handle: ScanHandle) -> None:
        """Stops a scan that nobody waits for any more. With a silent source it runs until the process is ended."""
        self._write({"stop": handle.number})

    def end(self, reason: str) -> None:
        """Kills the process, which has nothing to save. Unfinished requests fail with `reason`."""
        self._ended_because = self._ended_because or reason
        self._kill_group()

    def _kill_group(self) -> None:
        """Kills the process and whatever it has started: it leads a session of its own."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def takes_too_much(self) -> bool:
        """Whether it uses too much memory or disk. Where the system itself limits its memory, it never gets so far."""
        written = sum(path.stat().st_size for path in self._folder.rglob("*") if path.is_file())
        try:
            rss = psutil.Process(self.pid).memory_info().rss
        except psutil.Error:
            return False
        return rss > MEMORY_SPARE * self._memory_bytes or written > DISK_BYTES

    def _write(self, message: Mapping[str, Any]) -> None:
        with contextlib.suppress(OSError, ValueError), self._lock:  # it has ended: the reader detects and reports that
            self._stdin.write(line_of(dict(message)))
            self._stdin.flush()

    def _read(self) -> None:
        while line := self._stdout.readline(LONGEST_MESSAGE):
            try:
                self._take(message_of(line))
                self._check_rate()
            except Exception as error:  # what it writes may be anything, such as endless nesting
                print(
                    f"The scan process of {self.source!r} wrote an invalid response: {type(error).__name__}",
                    file=sys.stderr,
                )
                self.end("it wrote an invalid response")
                break
        self._kill_group()
        code = self._process.wait()
        self._ended_because = self._ended_because or _cause(code, self._memory_bytes)
        with self._lock:
            handles = list(self._handles.values())
            self._handles.clear()
            with contextlib.suppress(OSError):
                self._stdin.close()
        self._stdout.close()
        for handle in handles:
            handle.end(self._ended_error())
        self._adopt_archives()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _adopt_archives(self) -> None:
        """Keep what was downloaded for other processes, such as the preparation that a person starts after a scan."""
        if self._archives is not None:
            with contextlib.suppress(OSError):
                SdistStore(self._archives).adopt(self._folder / ARCHIVES)

    def _check_rate(self) -> None:
        """Raises ValueError for too many messages: an endless stream would keep a thread of the page busy."""
        self._num_messages += 1
        if self._num_messages > FIRST_MESSAGES + MESSAGES_PER_SECOND * (time.monotonic() - self._started_at):
            raise ValueError("too many messages")

    def _take(self, message: dict[str, Any]) -> None:
        if "ready" in message:
            return
        with self._lock:
            handle = self._handles.get(message["id"])
        if handle is None:
            return
        if "scan" in message:
            handle.tell(scan_of(message["scan"], handle.newest.samples if handle.newest else []))
            return
        self._adopt_archives()
        handle.end(self._error(message))
        with self._lock:
            self._handles.pop(handle.number, None)
            self.idle_since = time.monotonic()

    def _error(self, message: dict[str, Any]) -> PipelineError | None:
        if "done" in message:
            return None
        if "memory" in message:
            return PipelineError(too_much_memory(self._memory_bytes))
        if "crash" in message:
            details = ascii(str(message["crash"])[:MAX_TOLD]).replace("\\n", "\n")
            print(f"A scan of {self.source!r} failed: {details}", file=sys.stderr)
            return PipelineError("The scan failed for a reason that it did not expect; try another source.")
        kind = InputError if message["exit_status"] == InputError.exit_status else PipelineError
        return kind(str(message["error"]))

    def _ended_error(self) -> PipelineError:
        return PipelineError(f"The scan ended: {self._ended_because}.")


def environment(folder: Path, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment of a scan process: no secrets, and its own folder for whatever libraries write."""
    own = {name: str(folder) for name in ("HOME", "TMPDIR", "HF_HOME", "XDG_CACHE_HOME", "MPLCONFIGDIR")}
    kept = {name: value for name, value in child_environment(environ).items() if name not in CACHES}
    # Xet's client is native code, and makes connections that no audit hook sees.
    return {**kept, **own, "HF_HUB_DISABLE_XET": "1", "ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_ARENA_MAX": "2"}


CACHES = ("HF_HUB_CACHE", "HF_DATASETS_CACHE", "PIPELINE_HOME")


def too_much_memory(limit: int) -> str:
    return f"The scan needed more than the {limit / 2**30:.1f} GB of memory that it may take; scan fewer files, or another source."


def _cause(code: int, memory_bytes: int) -> str:
    if code == -signal.SIGABRT:  # how native code ends when it gets no memory
        return f"it needed more than the {memory_bytes / 2**30:.1f} GB of memory that it may take"
    return (
        f"it was killed by {signal.Signals(-code).name}" if code < 0 else f"its process ended with exit status {code}"
    )
