"""What open pages show of the home folder: read once for all of them, and with a version that tells whether to ask.

Does not depend on Gradio. A page polls the version, which costs a thousandth of a refresh, and refreshes when it changed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.paths import Home
from pipeline.jobs.state import ACTIVE
from pipeline.jobs.view_types import HomeView
from pipeline.jobs.views import home_view
from pipeline.ui.shared.recent import Recent

BUSY_SECONDS = 2.0
IDLE_SECONDS = 5.0
"""Time between two polls of an open page, while something runs and while nothing does."""


@dataclass(frozen=True)
class Snapshot:
    """The home folder at one moment."""

    view: HomeView
    version: str
    """Differs from that of another reading when a page may show something else."""

    @property
    def seconds(self) -> float:
        """How long a page waits until it polls again."""
        return BUSY_SECONDS if self.view.is_busy else IDLE_SECONDS


class LiveHome:
    """Thread-safe."""

    def __init__(self, home: Home, offered: Callable[[], object]) -> None:
        """`offered`: the source that the forms offer, which the page learns some seconds after its start."""
        self._home = home
        self._offered = offered
        self._recent = Recent()

    def reading(self, *, fresh: bool = False) -> Snapshot:
        """At most half a second old; with `fresh`, read now: somebody must see the effect of a click."""
        return self._recent.of("home", self._read, fresh=fresh)

    def known(self) -> Snapshot | None:
        """The reading that `reading` would return without reading; None when it is too old."""
        return self._recent.known("home")

    def _read(self) -> Snapshot:
        view = home_view(self._home)
        files = tuple(map(_stamp, self._files_of_active(view)))
        counts_down = any(run.push_fault and run.push_fault.next_at for run in view.runs)
        moment = int(time.time() // IDLE_SECONDS) if counts_down else 0
        return Snapshot(view, f"{hash((repr(view), files, self._offered(), moment)) & 0xFFFF_FFFF_FFFF:x}")

    def _files_of_active(self, view: HomeView) -> Iterator[Path]:
        """What a job writes besides its status; the newest job's too, whose last lines come after it has ended. And the
        folder of evaluations, whose files are replaced.
        """
        for run in view.runs:
            if run.state in ACTIVE or run is view.runs[0]:
                folder = self._home.run(run.run)
                yield from (folder.metrics, folder.samples, folder.pushes, folder.log)
        yield self._home.evaluations
        for corpus in view.corpora:
            if corpus.state in ACTIVE or corpus is view.corpora[0]:
                yield self._home.corpus(corpus.corpus).report


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - for every open page
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
