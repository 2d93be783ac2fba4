"""Publishes every complete checkpoint of every run: into the registry on this disk, and from there to the Hub.

One process per home and repo, `python -m pipeline.hub`, kept alive by the worker. It holds no truth: killed at any
instant and started again, it goes on from the checkpoints, the registry, the ledgers and the commits on the Hub. Without
a Hub repo it only fills the registry, and huggingface_hub is never imported.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

from pipeline.artifacts import manifest
from pipeline.artifacts.checkpoint import complete_checkpoints, revision_of, saved_at, step_of
from pipeline.artifacts.revision import Registry
from pipeline.core.atomic_io import is_locked, locked
from pipeline.core.errors import BusyError, DamagedError
from pipeline.core.paths import Home, RunFolder
from pipeline.core.settings import Settings
from pipeline.hub import push_log
from pipeline.hub.model_repo import Remote
from pipeline.hub.push_log import Ledger
from pipeline.hub.token import redact
from pipeline.hub.uploader import Mirror, Patience


def pending(settings: Settings) -> bool:
    """Whether a publisher has something to do: a checkpoint to register, or a revision to bring to the Hub.

    What was refused does not count: it waits for a person. Cheap enough for twice a second.
    """
    home = Home(settings.home)
    known = _ids(Registry(home, settings.repo))
    runs = [(run, Ledger(run, settings.repo)) for run in home.runs()]
    if any(True for run, book in runs for _ in _unregistered(run, book, known)):
        return True
    if settings.hub_repo is None:
        return False
    return any(row["state"] in push_log.WAITING for _, book in runs for row in book.rows().values())


class Publisher:
    """The one that writes the registry and the ledgers of one repo."""

    def __init__(self, settings: Settings, *, again: bool = False, patience: Patience | None = None) -> None:
        """`again`: also try once more what the Hub refused before."""
        self.settings = settings
        self.again = again
        self.patience = patience or Patience()
        self.home = Home(settings.home)
        self.registry = Registry(self.home, settings.repo)
        self.mirror = self._mirror(settings.hub_repo)

    def run(self) -> None:
        """Publish until nothing waits and no run is running. Returns at once while another process does it.

        Raises BusyError then, if it should try again what was refused: the other one does not.
        """
        with locked(self.home.publisher_lock(self.settings.repo), wait=False) as got:
            if not got:
                if self.again:
                    raise BusyError(
                        f"A publisher of {self.settings.repo} is at work and publishes whatever is complete; it stays until "
                        "no run trains and nothing waits, and some seconds longer. Look at `revisions`, or try again then."
                    )
                return
            self.registry.repair()
            if self.again:
                self._reopen()
            self._until_idle()

    def publish_once(self) -> None:
        """Register every complete checkpoint that is not, and take the mirror one step further. Never waits for the Hub.

        The oldest over all runs comes first: the registry's newest is then what was saved last.
        """
        known = _ids(self.registry)
        books = [Ledger(run, self.settings.repo) for run in self.home.runs()]
        found = [(checkpoint, book) for book in books for checkpoint in _unregistered(book.run, book, known)]
        for checkpoint, book in sorted(found, key=lambda item: (saved_at(item[0]), step_of(item[0]))):
            self._register(checkpoint, book)
        if self.mirror is not None:
            self.mirror.advance()

    def _until_idle(self) -> None:
        busy_at, failures = time.monotonic(), 0
        while time.monotonic() - busy_at < self.patience.idle_seconds:
            try:
                self.publish_once()
                failures = 0
            except OSError as error:
                # A full disk, say. What is written is whole, so the next look can go on from it.
                failures += 1
                print(
                    redact(f"{error}; looking again in {self.patience.retry_seconds(failures):g} s."), file=sys.stderr
                )
            if failures or pending(self.settings) or any(is_locked(run.lock) for run in self.home.runs()):
                busy_at = time.monotonic()
            time.sleep(self.patience.retry_seconds(failures) if failures else self.patience.poll_seconds)

    def _register(self, checkpoint: Path, book: Ledger) -> None:
        seen = saved_at(checkpoint)
        try:
            revision = self.registry.add(checkpoint)
        except DamagedError as error:
            if not (checkpoint / manifest.NAME).exists():
                return  # training took it away meanwhile: not damaged, gone
            identity = revision_of(checkpoint)
            book.write(step_of(checkpoint), push_log.REFUSED, revision=identity, seen=seen, error=str(error))
            print(error, file=sys.stderr)
        else:
            book.write(revision.step, push_log.REGISTERED, revision=revision.revision)

    def _reopen(self) -> None:
        """Let everything that the Hub refused wait again."""
        known = _ids(self.registry)
        for run in self.home.runs():
            book = Ledger(run, self.settings.repo)
            for step, row in book.rows().items():
                if row["state"] == push_log.REFUSED and row["revision"] in known:
                    book.write(step, push_log.REGISTERED, revision=row["revision"])

    def _mirror(self, repo: str | None) -> Mirror | None:
        if repo is None:
            return None
        remote = Remote(repo, answer_seconds=self.patience.answer_seconds)
        return Mirror(self.home, self.registry, remote, self.patience)


def _ids(registry: Registry) -> set[str]:
    return {revision.revision for revision in registry.revisions()}


def _unregistered(run: RunFolder, book: Ledger, known: set[str]) -> Iterator[Path]:
    """The complete checkpoints, oldest first, that are not in the registry and its ledger, and were not found damaged."""
    checkpoints = complete_checkpoints(run)
    rows = book.rows() if checkpoints else {}
    for checkpoint in checkpoints:
        row, revision = rows.get(step_of(checkpoint), {}), revision_of(checkpoint)
        registered = revision in known and row.get("revision") == revision
        found_damaged = "seen" in row and row["seen"] == saved_at(checkpoint)
        if not registered and not found_damaged:
            yield checkpoint
