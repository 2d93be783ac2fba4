"""Keeps the archive of a home up to date, in a thread of the publisher."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

from pipeline.core.atomic_io import locked
from pipeline.core.errors import PipelineError
from pipeline.core.paths import Home
from pipeline.core.settings import Settings
from pipeline.hub.bucket import save_all
from pipeline.hub.bucket_restore import restore_all

SCAN_INTERVAL_SECONDS = 2.0


class BucketKeeper:
    """Brings back what the archive has, if this disk never did, then saves there what changes."""

    def __init__(self, settings: Settings, archive: Path) -> None:
        self._settings = settings
        self._archive = archive
        self._thread: threading.Thread | None = None
        self._looked_at: float | None = None
        self._shown: str | None = None
        """The error printed last: an archive that is away for days must not fill the log."""

    def advance(self) -> None:
        """Save what has changed, when it is time to look. Never blocks."""
        if self._thread is not None and self._thread.is_alive():
            return
        if self._looked_at is None or time.monotonic() - self._looked_at >= SCAN_INTERVAL_SECONDS:
            self._looked_at = time.monotonic()
            self._thread = threading.Thread(target=self._save, name="archive", daemon=True)
            self._thread.start()

    def _save(self) -> None:
        home = Home(self._settings.home)
        try:
            restore_all(self._settings)
            with locked(home.archive_lock, wait=False) as acquired:  # the publisher of another repo may be at it
                if acquired:
                    save_all(home, self._archive)
            self._shown = None
        except (OSError, PipelineError) as error:  # the archive is full, or not mounted
            if self._shown != str(error):
                self._shown = str(error)
                print(f"Not everything is saved in {self._archive}: {error}; it is tried again.", file=sys.stderr)
