"""Publishes every complete checkpoint of every run: into the registry on this disk, and from there to the Hub.

One process per home and repo, `python -m pipeline.hub`, kept alive by the worker. It has no state of its own: killed
at any instant and restarted, it continues from the checkpoints, the registry, the push logs and the commits on the Hub.
It never imports huggingface_hub: each push is a process of its own.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.artifacts import manifest
from pipeline.artifacts.checkpoint import complete_checkpoints, revision_of, saved_at, step_of
from pipeline.artifacts.revision import Registry
from pipeline.core.atomic_io import is_locked, locked
from pipeline.core.errors import DamagedError
from pipeline.core.paths import Home, RunFolder
from pipeline.core.settings import Settings
from pipeline.hub import bucket, kept_states, push_log, push_status
from pipeline.hub.bucket_keeper import BucketKeeper
from pipeline.hub.card_push import CardContent
from pipeline.hub.file_push import Content, FilePush
from pipeline.hub.gallery_dataset import PREFIX
from pipeline.hub.gallery_push import GalleryContent
from pipeline.hub.push_log import PushLog
from pipeline.hub.takeover import Credentials
from pipeline.hub.token import redact
from pipeline.hub.uploader import Patience, Uploader

MAX_GALLERY_BYTES = 2 * 10**7
"""A full gallery."""


def pending(settings: Settings) -> bool:
    """Whether a publisher has something to do: a checkpoint to register, or a revision, the gallery or the card to upload.

    Refused pushes count only once a person asks to try them again. Cheap enough to call twice a second.
    """
    home = Home(settings.home)
    known_ids = _ids(Registry(home, settings.repo))
    runs = [(run, PushLog(run, settings.repo)) for run in home.runs()]
    if any(True for run, log in runs for _ in _unregistered(run, log, known_ids)):
        return True
    if bucket.is_behind(home, settings.archive):
        return True
    if settings.gallery_repo is not None and GalleryContent(home, PREFIX + settings.gallery_repo).is_due:
        return True
    if settings.hub_repo is None:
        return False
    if any(row["state"] in push_log.WAITING for _, log in runs for row in log.rows().values()):
        return True
    requested_at = push_status.retry_requested_at(home, settings.repo)
    if any(True for _, log in runs for _ in _to_reopen(log, known_ids, requested_at)):
        return True
    return GalleryContent(home, settings.repo).is_due or CardContent(home, settings.repo).is_due


class Publisher:
    """The only writer of the registry and the push logs of one repo."""

    def __init__(self, settings: Settings, *, patience: Patience | None = None) -> None:
        self.settings = settings
        self.patience = patience or Patience()
        self.home = Home(settings.home)
        self.registry = Registry(self.home, settings.repo)
        self.credentials = Credentials(settings)
        self.bucket = BucketKeeper(settings, settings.archive) if settings.archive else None
        self.uploader = None
        self.gallery_dataset = None
        if settings.gallery_repo is not None:
            repo = PREFIX + settings.gallery_repo
            self.gallery_dataset = self._file_push(GalleryContent(self.home, repo), repo)
        if settings.hub_repo is not None:
            self.uploader = Uploader(self.home, self.registry, self.patience, with_state=settings.hub_state)
            contents = (GalleryContent(self.home, settings.repo), CardContent(self.home, settings.repo))
            self.files = [self._file_push(content, settings.repo) for content in contents]

    def _file_push(self, content: Content, repo: str) -> FilePush:
        return FilePush(
            content,
            repo,
            answer_seconds=self.patience.answer_seconds,
            max_seconds=self.patience.push_seconds(MAX_GALLERY_BYTES),
        )

    def run(self) -> bool:
        """Publish until nothing is pending and no run is running, or until a process with another token or repo takes
        over. Returns False at once while another publisher runs.
        """
        with locked(self.home.publisher_lock(self.settings.repo), wait=False) as acquired:
            if acquired:
                push_status.write_retrying(self.home, self.settings.repo, None)  # of a publisher that was killed
                self.registry.repair()
                self._until_idle()
        return acquired

    def publish_once(self) -> None:
        """Register every complete checkpoint not yet registered, then advance the uploader. Never waits for the Hub.

        Checkpoints of all runs are registered in the order they were saved: the registry's newest is the last saved.
        """
        known_ids = _ids(self.registry)
        logs = [PushLog(run, self.settings.repo) for run in self.home.runs()]
        found = [(checkpoint, log) for log in logs for checkpoint in _unregistered(log.run, log, known_ids)]
        for checkpoint, log in sorted(found, key=lambda item: (saved_at(item[0]), step_of(item[0]))):
            self._register(checkpoint, log)
        if self.bucket is not None:
            self.bucket.advance()
        if self.gallery_dataset is not None:
            self.gallery_dataset.advance(may_start=True)
        if self.uploader is not None:
            if self.settings.hub_state:
                self._keep_states(logs)
            self._reopen(logs, known_ids)
            if not any(push.is_pushing for push in self.files):  # of two commits at a time one would fail
                self.uploader.advance()
            for push in self.files:
                others = [other for other in self.files if other is not push]
                push.advance(may_start=not self.uploader.is_pushing and not any(one.is_pushing for one in others))

    def _until_idle(self) -> None:
        failures = 0
        idle_since: float | None = None
        while not self.credentials.are_replaced():
            try:
                self.publish_once()
                failures = 0
            except OSError as error:
                # A full disk, for example. All written files are complete, so the next pass can continue from them.
                failures += 1
                print(
                    redact(f"{error}; looking again in {self.patience.retry_seconds(failures):g} s."), file=sys.stderr
                )
            if failures or pending(self.settings) or any(is_locked(run.lock) for run in self.home.runs()):
                idle_since = None
            # Seen idle at both ends of the time: the machine may have slept in between.
            elif idle_since is None:
                idle_since = time.monotonic()
            elif time.monotonic() - idle_since >= self.patience.idle_seconds:
                return
            time.sleep(self.patience.retry_seconds(failures) if failures else self.patience.poll_seconds)

    def _register(self, checkpoint: Path, log: PushLog) -> None:
        seen = saved_at(checkpoint)
        try:
            revision = self.registry.add(checkpoint)
        except DamagedError as error:
            if not (checkpoint / manifest.NAME).exists():
                return  # training deleted it meanwhile: gone, not damaged
            identity = revision_of(checkpoint)
            log.write(step_of(checkpoint), push_log.REFUSED, revision=identity, seen=seen, error=str(error))
            print(error, file=sys.stderr)
        else:
            log.write(revision.step, push_log.REGISTERED, revision=revision.revision)

    def _keep_states(self, logs: list[PushLog]) -> None:
        repo = self.settings.repo
        kept_states.forget_lost(self.home, repo)
        for log in logs:
            rows = log.rows().values()
            in_use = [row["revision"] for row in rows if row["state"] in (push_log.UPLOADING, push_log.RETRYING)]
            kept_states.keep_newest(self.home, repo, log.run, in_use=in_use)

    def _reopen(self, logs: list[PushLog], known_ids: set[str]) -> None:
        """Set what the Hub refused before a person's request to try again back to `registered`."""
        requested_at = push_status.retry_requested_at(self.home, self.settings.repo)
        for log in logs:
            for step, row in _to_reopen(log, known_ids, requested_at):
                log.write(step, push_log.REGISTERED, revision=row["revision"])


def _ids(registry: Registry) -> set[str]:
    return {revision.revision for revision in registry.revisions()}


def _unregistered(run: RunFolder, log: PushLog, known_ids: set[str]) -> Iterator[Path]:
    """Complete checkpoints, oldest first, that are not in the registry and push log and were not found damaged."""
    checkpoints = complete_checkpoints(run)
    rows = log.rows() if checkpoints else {}
    for checkpoint in checkpoints:
        row, revision = rows.get(step_of(checkpoint), {}), revision_of(checkpoint)
        registered = revision in known_ids and row.get("revision") == revision
        found_damaged = "seen" in row and row["seen"] == saved_at(checkpoint)
        if not registered and not found_damaged:
            yield checkpoint


def _to_reopen(log: PushLog, known_ids: set[str], requested_at: float) -> Iterator[tuple[int, dict[str, Any]]]:
    """The steps that the Hub refused before that time and whose revision still exists, with their newest row."""
    for step, row in log.rows().items() if requested_at else ():
        if row["state"] == push_log.REFUSED and row["time"] < requested_at and row["revision"] in known_ids:
            yield step, row
