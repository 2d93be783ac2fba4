"""The source that the page offers first. Found out in the background, as a package index may be silent for seconds."""

from __future__ import annotations

import threading
from concurrent.futures import Future

from pipeline.data.sources.first_source import FirstSource, first_source


class Offer:
    """Asked once in the life of a page."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: Future[FirstSource] | None = None

    def known(self) -> str:
        """Without waiting: `installed` until something else is known."""
        found = self._start()
        return found.result().source if found.done() else FirstSource.source

    def wait(self) -> str:
        """Waits a few seconds at most."""
        return self._start().result().source

    def _start(self) -> Future[FirstSource]:
        with self._lock:
            if self._found is None:
                self._found = Future()
                threading.Thread(target=self._ask, args=(self._found,), name="offer", daemon=True).start()
            return self._found

    def _ask(self, found: Future[FirstSource]) -> None:
        try:
            found.set_result(first_source())
        except BaseException as error:
            found.set_exception(error)
