"""Scans of sources, shared by all browsers that request the same one.

Results are cached for a while, so that a browser's state has only their key. The process that has read a source counts
other keywords in it. A scan ends when it has no watchers left or reaches a limit. Does not depend on Gradio.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pipeline.core.errors import BusyError
from pipeline.core.settings import Limits
from pipeline.ui.shared.texts import t

if TYPE_CHECKING:
    from pipeline.data.preview.process import ScanHandle, ScanProcess
    from pipeline.data.preview.scan import Scan

MAX_RUNNING = 8
"""Limit of concurrent scans over all visitors."""
MAX_OF_EACH = 4
"""Limit of concurrent scans per address."""
RESERVED = 3
"""Of the MAX_RUNNING slots, those reserved for addresses that have no running scan."""
MAX_OF_OWNER = 4
"""Limit of the owner's concurrent scans, which do not count in the visitors' limits."""
MAX_PROCESSES = 6
PROCESSES_OF_OWNER = 2
"""Limit of scan processes, each for one source that it reads or caches; and how many more the owner may start."""
MAX_WATCHERS_OF_EACH = 32
MAX_WATCHERS = 96
"""Limits of visitors watching scans, per address and in all: each takes a thread of `ui.shared.threads`."""
MAX_FOUND_OF_EACH = 4
MAX_FOUND = 48
"""Limits of cached results, per address and in all."""
WAIT_SECONDS = 0.2
"""Poll interval of a watcher: a source can be silent for long, and a watcher that stops must not wait for it."""
PATIENCE_SECONDS = 5.0
"""How long a newer question waits for the older one to end, and how far past its time limit a scan may run."""
STOP_SECONDS = 2.0
"""Grace period: a scan without watchers has this long to stop before its process is killed."""
IDLE_SECONDS = 300.0
"""An idle process, with its cached rows, is ended after this long."""
TICK_SECONDS = 0.5
KEPT_SOURCES = ("installed", "pypi")
"""The sources whose finished scans are reused, as every page opens with one: they hardly change while the page runs."""


class Key(NamedTuple):
    """The parameters of a scan. Requests with equal keys share one scan."""

    source: str
    keywords: tuple[str, ...]
    match: str
    limit: int
    builders: bool
    """Whether the `datasets` library may read formats that this project cannot."""

    @classmethod
    def of(cls, source: str, keywords: tuple[str, ...], match: str, limit: int, is_owner: bool) -> Key:
        """The key of the owner's or a visitor's request."""
        return cls(source, keywords, match, limit, builders=is_owner and source.startswith("hub:"))


class Subscription:
    """One browser's subscription to a scan. It ends when it is stopped or the browser starts a newer one."""

    def __init__(self, visitor: str | None = None) -> None:
        self.visitor = visitor
        """Address whose quota it counts in; None for the owner."""
        self.is_stopped = False
        self.is_superseded = False
        self.ended = threading.Event()
        """Set when the browser will show no further update of it."""

    @property
    def is_open(self) -> bool:
        return not (self.is_stopped or self.is_superseded)


class SharedScan:
    """A scan that has watchers, or that is stopping."""

    def __init__(self, key: Key, process: ScanProcess, handle: ScanHandle, visitor: str | None, ends_at: float) -> None:
        self.key = key
        self.process = process
        self.handle = handle
        self.visitor = visitor
        self.ends_at = ends_at
        self.watchers: Counter[str | None] = Counter()
        """Number of watchers per address; None is the owner."""
        self.abandoned_at: float | None = None


class Scans:
    """The running scans, their processes and the cached results."""

    def __init__(self, limits: Limits, scratch: Path, archives: Path | None = None) -> None:
        """`scratch`: folder for the processes' temporary files; whatever an earlier page left there is deleted.
        `archives`: folder of the source distributions that they download.
        """
        self._limits = limits
        self._archives = archives
        self._scratch = scratch
        self._processes: dict[tuple[str, bool], ScanProcess] = {}
        self._shared: list[SharedScan] = []
        self._results: OrderedDict[Key, tuple[Scan, str | None]] = OrderedDict()
        """Cached results and the address each counts for, in least recently used order."""
        self._questions: dict[str, Subscription] = {}
        """The newest question of each browser, while it is being answered."""
        self._lock = threading.RLock()
        self._monitor: threading.Thread | None = None
        shutil.rmtree(scratch, ignore_errors=True)

    # ---- questions ----

    @contextmanager
    def question(self, asked_by: str, visitor: str | None = None) -> Iterator[Subscription]:
        """The newest question of the browser `asked_by`. Waits until its older question has ended, so that no update of
        that one is shown afterwards, but at most PATIENCE_SECONDS, because the older one's browser may be gone.
        """
        question = Subscription(visitor)
        with self._lock:
            older = self._questions.get(asked_by)
            self._questions[asked_by] = question
        if older is not None:
            older.is_superseded = True
            older.ended.wait(PATIENCE_SECONDS)
        try:
            yield question
        finally:
            question.ended.set()
            with self._lock:
                if self._questions.get(asked_by) is question:
                    del self._questions[asked_by]

    def stop(self, asked_by: str) -> None:
        """End what the browser `asked_by` watches, at its next poll."""
        with self._lock:
            if question := self._questions.get(asked_by):
                question.is_stopped = True

    # ---- scans ----

    def watch(self, key: Key, question: Subscription | None = None) -> Generator[Scan, None, None]:
        """Yields each new state of the scan. The last state is `done` or names the limit that `ended` it, unless
        `question` is stopped or superseded before.

        Closing the iterator stops watching. Raises the scan's errors: InputError for an unknown or missing source;
        BusyError when too many scans or watchers run.
        """
        question = question or Subscription()
        cached = self.found(key) if key.source in KEPT_SOURCES else None
        if cached is not None and cached.done:
            yield cached
            return
        shared = self._join(key, question.visitor)
        try:
            for state in self._states(shared, lambda: question.is_open):
                self._cache(key, state, question.visitor)
                yield state
        finally:
            self._leave(shared, question.visitor)

    def found(self, key: Key | None) -> Scan | None:
        """The newest state of the scan with `key`; None when it is not cached (any more)."""
        with self._lock:
            if key is None or key not in self._results:
                return None
            self._results.move_to_end(key)
            return self._results[key][0]

    def close(self) -> None:
        """Kill every process."""
        with self._lock:
            processes = list(self._processes.values())
        for process in processes:
            process.end("the page was closed")

    def _cache(self, key: Key, state: Scan, visitor: str | None) -> None:
        """Cache `state`. A visitor above MAX_FOUND_OF_EACH evicts their own oldest results first."""
        with self._lock:
            self._results[key] = state, visitor
            self._results.move_to_end(key)
            own = [cached for cached, (_, owner) in self._results.items() if owner == visitor]
            limit = MAX_FOUND_OF_EACH if visitor is not None else MAX_FOUND
            for cached in own[:-limit] or list(self._results)[:-MAX_FOUND]:
                del self._results[cached]

    def _join(self, key: Key, visitor: str | None) -> SharedScan:
        with self._lock:
            self._check_watchers(visitor)
            shared = next((s for s in self._shared if s.key == key and s.abandoned_at is None), None)
            if shared is None:
                self._check_num_running(visitor)
                shared = self._start(key, visitor)
                self._shared.append(shared)
            shared.watchers[visitor] += 1
            return shared

    def _check_watchers(self, visitor: str | None) -> None:
        """Raises BusyError at the limits of watchers. Each takes a thread, also when it joins another one's scan."""
        if visitor is None:
            return
        watchers = sum((shared.watchers for shared in self._shared), Counter[str | None]())
        num_own, num_all = watchers[visitor], watchers.total() - watchers[None]
        if num_own >= MAX_WATCHERS_OF_EACH:
            raise BusyError(t("data.busy.own", running=num_own))
        if num_all >= MAX_WATCHERS:
            raise BusyError(t("data.busy", running=num_all))

    def _check_num_running(self, visitor: str | None) -> None:
        """Raises BusyError at the limit of running scans; the owner's and the visitors' are counted separately."""
        own = [shared for shared in self._shared if shared.visitor == visitor]
        of_visitors = [shared for shared in self._shared if shared.visitor is not None]
        if visitor is None and len(own) >= MAX_OF_OWNER:
            raise BusyError(t("data.busy", running=len(own)))
        if visitor is not None and len(own) >= MAX_OF_EACH:
            raise BusyError(t("data.busy.own", running=len(own)))
        if visitor is not None and len(of_visitors) >= MAX_RUNNING - (RESERVED if own else 0):
            raise BusyError(t("data.busy", running=len(of_visitors)))

    def _start(self, key: Key, visitor: str | None) -> SharedScan:
        limits = self._limits
        process = self._process(key, visitor)
        handle = process.ask(
            key.keywords, key.match, key.limit, seconds=limits.preview_seconds, max_bytes=limits.preview_bytes
        )
        return SharedScan(key, process, handle, visitor, time.monotonic() + limits.preview_seconds + PATIENCE_SECONDS)

    def _process(self, key: Key, visitor: str | None) -> ScanProcess:
        """The process for the source, started if there is none. Raises BusyError when none may be started."""
        from pipeline.data.preview.process import ScanProcess

        process_key = key.source, key.builders
        process = self._processes.get(process_key)
        if process is None or process.has_ended:
            self._evict_idle(is_owner=visitor is None)
            process = ScanProcess(key.source, builders=key.builders, scratch=self._scratch, archives=self._archives)
            self._processes[process_key] = process
            self._start_monitor()
        return process

    def _evict_idle(self, *, is_owner: bool) -> None:
        """At the limit of processes, end the one that was idle longest; the owner has PROCESSES_OF_OWNER more.

        Raises BusyError when none is idle.
        """
        self._processes = {key: process for key, process in self._processes.items() if not process.has_ended}
        idle = [(process.idle_since, key) for key, process in self._processes.items() if not process.num_looks]
        if len(self._processes) < MAX_PROCESSES + (PROCESSES_OF_OWNER if is_owner else 0):
            return
        if not idle:
            raise BusyError(t("data.busy", running=len(self._processes)))
        self._processes.pop(min(idle)[1]).end("another source needs its place")

    def _leave(self, shared: SharedScan, visitor: str | None) -> None:
        with self._lock:
            shared.watchers[visitor] -= 1
            if shared.watchers.total():
                return
            if shared.process.is_answering(shared.handle):
                shared.abandoned_at = time.monotonic()
                shared.process.stop(shared.handle)
            else:
                self._remove(shared)

    def _remove(self, shared: SharedScan) -> None:
        if shared in self._shared:
            self._shared.remove(shared)

    def _states(self, shared: SharedScan, is_open: Callable[[], bool]) -> Iterator[Scan]:
        handle, seen = shared.handle, None
        while True:
            with handle.changed:
                if not handle.is_over and handle.newest is seen:
                    handle.changed.wait(WAIT_SECONDS)
                if not handle.is_over and time.monotonic() >= shared.ends_at:
                    self._end_overdue(shared)
                newest, is_over, error = handle.newest, handle.is_over, handle.error
            if not is_open():
                return
            if newest is not None and newest is not seen:
                seen = newest
                yield newest
            if error is not None:
                raise error
            if is_over and newest is seen:
                return

    def _end_overdue(self, shared: SharedScan) -> None:
        """End a scan beyond its time limit whose source is silent. Its last state is what it had counted."""
        from pipeline.data.preview.scan import Ended, Scan
        from pipeline.data.report.scan_report import Report

        key, handle = shared.key, shared.handle
        newest = handle.newest or Scan(Report(key.keywords).to_dict(), [], False, source=key.source, match=key.match)
        handle.tell(replace(newest, done=False, ended=Ended("seconds", self._limits.preview_seconds)))
        handle.end()
        shared.process.stop(handle)

    # ---- processes ----

    def _start_monitor(self) -> None:
        if self._monitor is None or not self._monitor.is_alive():
            self._monitor = threading.Thread(target=self._monitor_processes, name="scan-watch", daemon=True)
            self._monitor.start()

    def _monitor_processes(self) -> None:
        while True:
            time.sleep(TICK_SECONDS)
            with self._lock:
                self._check_processes(time.monotonic())
                if not self._processes:
                    self._monitor = None
                    return

    def _check_processes(self, now: float) -> None:
        """End processes that exceed memory or disk, that are idle, or that do not stop an abandoned scan."""
        from pipeline.data.preview.process import MEMORY_BYTES, too_much_memory

        watched = {shared.process for shared in self._shared if shared.abandoned_at is None}
        for shared in list(self._shared):
            if shared.abandoned_at is None:
                continue
            is_late = now - shared.abandoned_at >= STOP_SECONDS
            if is_late and shared.process not in watched:
                shared.process.end("nobody waited for it")
            if is_late or not shared.process.is_answering(shared.handle):
                self._remove(shared)
        for key, process in list(self._processes.items()):
            if process.has_ended:
                del self._processes[key]
            elif process.takes_too_much():
                process.end(too_much_memory(MEMORY_BYTES))
            elif not process.num_looks and now - process.idle_since >= IDLE_SECONDS:
                process.end("nobody asked it")
