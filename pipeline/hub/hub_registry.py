"""The revisions that a model repo on the Hub holds, behind the registry's calls: for a disk that was wiped by a restart."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.artifacts.checkpoint import PROVENANCE
from pipeline.artifacts.revision import Registry, Revision, pick
from pipeline.core import atomic_io
from pipeline.core.errors import HubError
from pipeline.core.paths import Home
from pipeline.core.settings import Settings
from pipeline.hub.client import DOWNLOAD, connect, hub_errors
from pipeline.hub.commits import Push, read_push
from pipeline.hub.model_repo import MAIN

if TYPE_CHECKING:
    from huggingface_hub import HfApi

NUM_REVISIONS = 20
"""Only the newest: each costs a request to learn its loss."""
LOOK_SECONDS = 30.0
"""The Hub asks not to be polled faster."""
ANSWER_SECONDS = 10.0


class HubRegistry:
    """Read-only. Needs no token for a public repo. Raises HubError when the Hub cannot be asked."""

    def __init__(self, repo: str, *, look_seconds: float = LOOK_SECONDS) -> None:
        self.repo = repo
        self.look_seconds = look_seconds
        self._looking = threading.Lock()
        self._looked_at: float | None = None
        self._found: list[Revision] = []
        self._error: HubError | None = None

    def revisions(self) -> list[Revision]:
        """The newest revisions, newest first. Asks the Hub twice a minute at most, also when it does not answer.

        Whoever comes while another thread looks waits for what that one finds.
        """
        with self._looking:
            now = time.monotonic()
            if self._looked_at is None or now - self._looked_at >= self.look_seconds:
                self._looked_at, self._error = now, None
                try:
                    self._found = self._look()
                except HubError as error:
                    self._error = error
            if self._error is not None:
                raise self._error
            return self._found

    def newest(self) -> Revision | None:
        return next(iter(self.revisions()), None)

    def get(self, text: str) -> Revision:
        """As Registry.get; the files are on this disk only after `fetch`."""
        return pick(self.revisions(), text, self.repo)

    def fetch(self, revision: Revision) -> Revision:
        """The revision with its files on this disk, downloaded unless they are."""
        with hub_errors(self.repo, DOWNLOAD):
            api = connect(DOWNLOAD, answer_seconds=ANSWER_SECONDS)
            return replace(revision, path=Path(api.snapshot_download(self.repo, revision=revision.commit)))

    def _look(self) -> list[Revision]:
        with hub_errors(self.repo, DOWNLOAD):
            api = connect(DOWNLOAD, answer_seconds=ANSWER_SECONDS)
            if not api.repo_exists(self.repo):
                return []  # it is made by the first push
            commits = api.list_repo_commits(self.repo, revision=MAIN)
            pushes = [read_push(commit.commit_id, commit.title, commit.message) for commit in commits]
            newest = [push for push in pushes if push is not None][:NUM_REVISIONS]
            return [self._revision(api, push) for push in newest]

    def _revision(self, api: HfApi, push: Push) -> Revision:
        path = Path(api.hf_hub_download(self.repo, PROVENANCE, revision=push.commit))
        return Revision.from_facts(atomic_io.read_json(path) or {}, commit=push.commit, path=path.parent)


@cache
def hub_registry(repo: str) -> HubRegistry:
    """One per repo in a process, so that all who ask share its looks."""
    return HubRegistry(repo)


def open_registry(settings: Settings) -> Registry | HubRegistry:
    """Where to take a revision from: this disk, or, while it has none, the model repo on the Hub."""
    local = Registry(Home(settings.home), settings.repo)
    if settings.hub_repo is None or local.newest() is not None:
        return local
    return hub_registry(settings.hub_repo)
