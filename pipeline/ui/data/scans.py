"""Scans of sources, shared by everybody who asks for the same one. What they found is kept for a while, so that a browser's
state holds only its key; other keywords of a source are counted by the process that has read it.

A scan ends when nobody watches it any more, or when it has taken what one may take. Knows nothing of Gradio.
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
    from pipeline.data.preview.process import Look, ScanProcess
    from pipeline.data.preview.scan import Scan

MOST_RUNNING = 8
"""Scans that run at once, of all visitors."""
MOST_OF_EACH = 4
"""Scans that one address may have running."""
RESERVED = 3
"""Of all places, those that only an address without any may take."""
MOST_OF_OWNER = 4
"""Scans of the owner, beside all those of visitors."""
MOST_PROCESSES = 6
PROCESSES_OF_OWNER = 2
"""Sources that are read or remembered, each by a process of its own; and how many more the owner may have."""
MOST_WATCHERS_OF_EACH = 32
MOST_WATCHERS = 96
"""Visitors that wait for scans, of one address and of all: each takes one of threads.py's."""
MOST_FOUND_OF_EACH = 4
MOST_FOUND = 48
"""Results that are kept: of one address, and of all."""
WAIT_SECONDS = 0.2
"""A source can be silent for long; whoever stops watching does not wait for it."""
PATIENCE_SECONDS = 5.0
"""A newer question waits this long for the older one's last word, and a scan whose time is over for its source's."""
STOP_SECONDS = 2.0
"""A scan that nobody watches has this long to stop before its process is killed."""
IDLE_SECONDS = 300.0
"""A process that nobody asks ends after this long, and what it remembers with it."""
TICK_SECONDS = 0.5
KEPT_SOURCE = "installed"
"""The only source of which a finished scan is given again: it cannot change while the page runs."""


class Key(NamedTuple):
    """What was asked. Two who ask the same share one scan."""

    source: str
    keywords: tuple[str, ...]
    match: str
    limit: int
    builders: bool
    """Whether `datasets` may read what we cannot."""

    @classmethod
    def of(cls, source: str, keywords: tuple[str, ...], match: str, limit: int, is_owner: bool) -> Key:
        """What the owner, or a visitor, asks."""
        return cls(source, keywords, match, limit, builders=is_owner and source.startswith("hub:"))


class Subscription:
    """One browser's wish to watch a scan. What it watches ends when it is stopped or a newer one comes."""

    def __init__(self, visitor: str | None = None) -> None:
        self.visitor = visitor
        """Whose quota it counts in; None: the owner's."""
        self.is_stopped = False
        self.is_superseded = False
        self.ended = threading.Event()
        """Set when whoever asked shows nothing more of it."""

    @property
    def is_open(self) -> bool:
        return not (self.is_stopped or self.is_superseded)


class SharedScan:
    """A scan that somebody watches, or that is stopping."""

    def __init__(self, key: Key, process: ScanProcess, look: Look, visitor: str | None, ends_at: float) -> None:
        self.key = key
        self.process = process
        self.look = look
        self.visitor = visitor
        self.ends_at = ends_at
        self.watchers: Counter[str | None] = Counter()
        """How many of each address; None: the owner."""
        self.abandoned_at: float | None = None


class Scans:
    """What is being scanned, and what was."""

    def __init__(self, limits: Limits, scratch: Path) -> None:
        """`scratch`: a folder for the processes' own; what an earlier page left there is deleted."""
        self._limits = limits
        self._scratch = scratch
        self._processes: dict[tuple[str, bool], ScanProcess] = {}
        self._shared: list[SharedScan] = []
        self._found: OrderedDict[Key, tuple[Scan, str | None]] = OrderedDict()
        """Results and whose they are; the newest used last."""
        self._asked: dict[str, Subscription] = {}
        """The newest question of each browser that still waits for its answer."""
        self._lock = threading.RLock()
        self._watchman: threading.Thread | None = None
        shutil.rmtree(scratch, ignore_errors=True)

    # ---- questions ----

    @contextmanager
    def question(self, asked_by: str, visitor: str | None = None) -> Iterator[Subscription]:
        """The newest question of the browser `asked_by`. Begins when its older one has said its last word, so that
        nothing of that is shown afterwards; PATIENCE_SECONDS at most, for an older one whose browser is gone.
        """
        question = Subscription(visitor)
        with self._lock:
            older = self._asked.get(asked_by)
            self._asked[asked_by] = question
        if older is not None:
            older.is_superseded = True
            older.ended.wait(PATIENCE_SECONDS)
        try:
            yield question
        finally:
            question.ended.set()
            with self._lock:
                if self._asked.get(asked_by) is question:
                    del self._asked[asked_by]

    def stop(self, asked_by: str) -> None:
        """What `asked_by` watches ends within a moment."""
        with self._lock:
            if question := self._asked.get(asked_by):
                question.is_stopped = True

    # ---- scans ----

    def watch(self, key: Key, question: Subscription | None = None) -> Generator[Scan, None, None]:
        """The scan as it goes on, each state that is new; the last one is `done`, or says which limit `ended` it, unless
        `question` is over before.

        Closing the iterator stops watching. Raises what the scan raises: InputError for an unknown or missing source;
        BusyError when too many run.
        """
        question = question or Subscription()
        known = self.found(key) if key.source == KEPT_SOURCE else None
        if known is not None and known.done:
            yield known
            return
        shared = self._join(key, question.visitor)
        try:
            for state in self._states(shared, lambda: question.is_open):
                self._keep(key, state, question.visitor)
                yield state
        finally:
            self._leave(shared, question.visitor)

    def found(self, key: Key | None) -> Scan | None:
        """The newest state of the scan that was asked for with `key`; None when it is not kept any more."""
        with self._lock:
            if key is None or key not in self._found:
                return None
            self._found.move_to_end(key)
            return self._found[key][0]

    def close(self) -> None:
        """End every process."""
        with self._lock:
            processes = list(self._processes.values())
        for process in processes:
            process.end("the page was closed")

    def _keep(self, key: Key, state: Scan, visitor: str | None) -> None:
        """Whoever asks for many pushes out their own first."""
        with self._lock:
            self._found[key] = state, visitor
            self._found.move_to_end(key)
            own = [known for known, (_, whose) in self._found.items() if whose == visitor]
            most = MOST_FOUND_OF_EACH if visitor is not None else MOST_FOUND
            for known in own[:-most] or list(self._found)[:-MOST_FOUND]:
                del self._found[known]

    def _join(self, key: Key, visitor: str | None) -> SharedScan:
        with self._lock:
            self._check_watchers(visitor)
            shared = next((s for s in self._shared if s.key == key and s.abandoned_at is None), None)
            if shared is None:
                self._check_room(visitor)
                shared = self._start(key, visitor)
                self._shared.append(shared)
            shared.watchers[visitor] += 1
            return shared

    def _check_watchers(self, visitor: str | None) -> None:
        """Raises BusyError when as many watch as may: each takes a thread, also of a scan that another one began."""
        if visitor is None:
            return
        watchers = sum((shared.watchers for shared in self._shared), Counter[str | None]())
        own, every = watchers[visitor], watchers.total() - watchers[None]
        if own >= MOST_WATCHERS_OF_EACH:
            raise BusyError(t("data.busy.own", running=own))
        if every >= MOST_WATCHERS:
            raise BusyError(t("data.busy", running=every))

    def _check_room(self, visitor: str | None) -> None:
        """Raises BusyError when as many run as may. The owner's and the visitors' do not count in each other's."""
        own = [shared for shared in self._shared if shared.visitor == visitor]
        others = [shared for shared in self._shared if shared.visitor is not None]
        if visitor is None and len(own) >= MOST_OF_OWNER:
            raise BusyError(t("data.busy", running=len(own)))
        if visitor is not None and len(own) >= MOST_OF_EACH:
            raise BusyError(t("data.busy.own", running=len(own)))
        if visitor is not None and len(others) >= MOST_RUNNING - (RESERVED if own else 0):
            raise BusyError(t("data.busy", running=len(others)))

    def _start(self, key: Key, visitor: str | None) -> SharedScan:
        limits = self._limits
        process = self._process(key, visitor)
        look = process.ask(
            key.keywords, key.match, key.limit, seconds=limits.preview_seconds, most_bytes=limits.preview_bytes
        )
        return SharedScan(key, process, look, visitor, time.monotonic() + limits.preview_seconds + PATIENCE_SECONDS)

    def _process(self, key: Key, visitor: str | None) -> ScanProcess:
        """The process that reads the source, started unless there is one. Raises BusyError when none may be started."""
        from pipeline.data.preview.process import ScanProcess

        named = key.source, key.builders
        process = self._processes.get(named)
        if process is None or process.has_ended:
            self._make_room(is_owner=visitor is None)
            process = ScanProcess(key.source, builders=key.builders, scratch=self._scratch)
            self._processes[named] = process
            self._keep_watch()
        return process

    def _make_room(self, *, is_owner: bool) -> None:
        """End the process that was idle for longest, when there are as many as may be. The owner may have some more."""
        self._processes = {named: process for named, process in self._processes.items() if not process.has_ended}
        idle = [(process.idle_since, named) for named, process in self._processes.items() if not process.num_looks]
        if len(self._processes) < MOST_PROCESSES + (PROCESSES_OF_OWNER if is_owner else 0):
            return
        if not idle:
            raise BusyError(t("data.busy", running=len(self._processes)))
        self._processes.pop(min(idle)[1]).end("another source needs its place")

    def _leave(self, shared: SharedScan, visitor: str | None) -> None:
        with self._lock:
            shared.watchers[visitor] -= 1
            if shared.watchers.total():
                return
            if shared.process.is_answering(shared.look):
                shared.abandoned_at = time.monotonic()
                shared.process.stop(shared.look)
            else:
                self._forget(shared)

    def _forget(self, shared: SharedScan) -> None:
        if shared in self._shared:
            self._shared.remove(shared)

    def _states(self, shared: SharedScan, is_wanted: Callable[[], bool]) -> Iterator[Scan]:
        look, seen = shared.look, None
        while True:
            with look.changed:
                if not look.is_over and look.newest is seen:
                    look.changed.wait(WAIT_SECONDS)
                if not look.is_over and time.monotonic() >= shared.ends_at:
                    self._end_late(shared)
                newest, is_over, error = look.newest, look.is_over, look.error
            if not is_wanted():
                return
            if newest is not None and newest is not seen:
                seen = newest
                yield newest
            if error is not None:
                raise error
            if is_over and newest is seen:
                return

    def _end_late(self, shared: SharedScan) -> None:
        """Its source is silent, and its time is over. Whatever it counted is its last word."""
        from pipeline.data.preview.scan import Ended, Scan
        from pipeline.data.report.scan_report import Report

        key, look = shared.key, shared.look
        newest = look.newest or Scan(Report(key.keywords).to_dict(), [], False, source=key.source, match=key.match)
        look.newest = replace(newest, done=False, ended=Ended("seconds", self._limits.preview_seconds))
        look.is_over = True
        shared.process.stop(look)

    # ---- processes ----

    def _keep_watch(self) -> None:
        if self._watchman is None or not self._watchman.is_alive():
            self._watchman = threading.Thread(target=self._watch_processes, name="scan-watch", daemon=True)
            self._watchman.start()

    def _watch_processes(self) -> None:
        while True:
            time.sleep(TICK_SECONDS)
            with self._lock:
                self._look_after_processes(time.monotonic())
                if not self._processes:
                    self._watchman = None
                    return

    def _look_after_processes(self, now: float) -> None:
        """End what takes too much, what nobody asks, and what does not stop though nobody waits for it."""
        from pipeline.data.preview.process import MEMORY_BYTES, too_much_memory

        watched = {shared.process for shared in self._shared if shared.abandoned_at is None}
        for shared in list(self._shared):
            if shared.abandoned_at is None:
                continue
            is_late = now - shared.abandoned_at >= STOP_SECONDS
            if is_late and shared.process not in watched:
                shared.process.end("nobody waited for it")
            if is_late or not shared.process.is_answering(shared.look):
                self._forget(shared)
        for named, process in list(self._processes.items()):
            if process.has_ended:
                del self._processes[named]
            elif process.takes_too_much():
                process.end(too_much_memory(MEMORY_BYTES))
            elif not process.num_looks and now - process.idle_since >= IDLE_SECONDS:
                process.end("nobody asked it")
