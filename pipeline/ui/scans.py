"""Looks at data, in threads of the page, shared by everybody who asks for the same one. Finished looks are kept,
and what was read is remembered: other keywords are counted without reading again.

A look ends when nobody watches it any more, or when it has taken what one may take. Knows nothing of Gradio.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from pipeline.errors import BusyError
from pipeline.settings import Limits
from pipeline.ui.texts import t

if TYPE_CHECKING:
    from pipeline.data.scan import Scan
    from pipeline.data.sources.remembered import Memory

MOST_RUNNING = 4
MOST_KEPT = 8
WAIT_SECONDS = 0.2
"""A source can be silent for long; whoever stops watching does not wait for it."""
PATIENCE_SECONDS = 5.0
"""A newer question waits this long for the older one's last word, and a look whose time is over for its source's."""
KEPT_SOURCE = "installed"
"""The only source whose finished looks are kept: it cannot change while the page runs."""

Key = tuple[str, tuple[str, ...], str, int]
"""Source, keywords, match, limit."""


class Question:
    """One browser's wish to watch a look. What it watches ends when it is stopped or a newer one comes."""

    def __init__(self) -> None:
        self.is_stopped = False
        self.is_superseded = False
        self.ended = threading.Event()
        """Set when whoever asked shows nothing more of it."""

    @property
    def is_open(self) -> bool:
        return not (self.is_stopped or self.is_superseded)


class Scans:
    """What is being looked at, and what was."""

    def __init__(self, limits: Limits = Limits()) -> None:  # noqa: B008 - frozen
        self._limits = limits
        self._looks: OrderedDict[Key, _Look] = OrderedDict()
        self._working: list[_Look] = []
        self._asked: dict[str, Question] = {}
        """The newest question of each browser that still waits for its answer."""
        self._lock = threading.Lock()

    @cached_property
    def _memory(self) -> Memory:
        """What was read of every source, so that other keywords are counted without reading it again."""
        from pipeline.data.sources.remembered import Memory

        return Memory()

    @contextmanager
    def question(self, asked_by: str) -> Iterator[Question]:
        """The newest question of the browser `asked_by`. Begins when its older one has said its last word, so that
        nothing of that is shown afterwards; PATIENCE_SECONDS at most, for an older one whose browser is gone.
        """
        question = Question()
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

    def watch(
        self,
        source: str,
        keywords: tuple[str, ...],
        limit: int,
        question: Question | None = None,
        match: str = "substring",
    ) -> Iterator[Scan]:
        """The look as it goes on, each state that is new; the last one is `done`, or says which limit `ended` it, unless
        `question` is over before.

        Closing the iterator stops watching. Raises what the scan raises: InputError for an unknown or missing source;
        BusyError when too many run.
        """
        question = question or Question()
        look = self._join((source, keywords, match, limit))
        try:
            yield from look.states(lambda: question.is_open)
        finally:
            self._leave(look)

    def _join(self, key: Key) -> _Look:
        with self._lock:
            look = self._looks.get(key)
            if look is None or look.is_abandoned:
                self._working = [look for look in self._working if look.is_working]
                running = len(self._working)
                if running >= MOST_RUNNING:
                    raise BusyError(t("data.busy", running=running))
                look = self._looks[key] = _Look(key, self._memory, self._limits)
                look.start()
                self._working.append(look)
            look.watchers += 1
            return look

    def _leave(self, look: _Look) -> None:
        with self._lock:
            look.watchers -= 1
            if not look.watchers and not look.is_kept:
                look.is_abandoned = True
                if self._looks.get(look.key) is look:
                    del self._looks[look.key]
            kept = [key for key, other in self._looks.items() if other.is_over and not other.watchers]
            for key in kept[:-MOST_KEPT]:
                del self._looks[key]


class _Look:
    """One scan and the thread it runs in."""

    def __init__(self, key: Key, memory: Memory, limits: Limits) -> None:
        self.key = key
        self._memory = memory
        self._limits = limits
        self._ends_at = math.inf
        self.watchers = 0
        self.is_abandoned = False
        self.is_over = False
        self._newest: Scan | None = None
        self._error: BaseException | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="look", daemon=True)

    @property
    def is_kept(self) -> bool:
        is_whole = self._newest is not None and self._newest.done
        return self.is_over and is_whole and self._error is None and self.key[0] == KEPT_SOURCE

    @property
    def is_working(self) -> bool:
        """Whether its thread lives, also when nobody waits for it any more: its source may be silent."""
        return self._thread.is_alive()

    def start(self) -> None:
        self._ends_at = time.monotonic() + self._limits.preview_seconds + PATIENCE_SECONDS
        self._thread.start()

    def states(self, is_wanted: Callable[[], bool]) -> Iterator[Scan]:
        seen: Scan | None = None
        while True:
            with self._changed:
                if not self.is_over and self._newest is seen:
                    self._changed.wait(WAIT_SECONDS)
                if not self.is_over and time.monotonic() >= self._ends_at:
                    self._end()
                newest, is_over, error = self._newest, self.is_over, self._error
            if not is_wanted():
                return
            if newest is not None and newest is not seen:
                seen = newest
                yield newest
            if error is not None:
                raise error
            if is_over:
                return

    def _end(self) -> None:
        """Over, whatever the source does: one that is silent cannot be asked to stop."""
        from pipeline.data.report import Report
        from pipeline.data.scan import Ended, Scan

        source, keywords, match, _ = self.key
        newest = self._newest or Scan(Report(keywords).to_dict(), [], False, source=source, match=match)
        self._newest = replace(newest, done=False, ended=Ended("seconds", self._limits.preview_seconds))
        self.is_over = True

    def _run(self) -> None:
        from pipeline.data.scan import scan
        from pipeline.data.sources import open_source
        from pipeline.data.sources.remembered import Remembered

        spec, keywords, match, limit = self.key
        try:
            source = Remembered(open_source(spec), self._memory)
            for state in scan(
                source,
                keywords,
                match=match,
                limit=limit,
                should_stop=lambda: self.is_abandoned or self.is_over,
                max_seconds=self._limits.preview_seconds,
                max_bytes=self._limits.preview_bytes,
            ):
                self._tell(state)
        except BaseException as error:  # it belongs to those who watch, not to this thread
            self._error = error
        with self._changed:
            self.is_over = True
            self._changed.notify_all()

    def _tell(self, state: Scan) -> None:
        with self._changed:
            if not self.is_over:
                self._newest = state
            self._changed.notify_all()
