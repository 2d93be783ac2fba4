"""The revisions in a model repo on the Hub, read from its commits; `revision_store` merges them with the local ones."""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.artifacts.checkpoint import PROVENANCE
from pipeline.artifacts.revision import Revision, are_facts
from pipeline.core import atomic_io
from pipeline.core.errors import DamagedError, HubError
from pipeline.hub.archive import RUNS
from pipeline.hub.best_tag import best_push
from pipeline.hub.client import DOWNLOAD, connect, hub_errors
from pipeline.hub.commits import Push, read_push
from pipeline.hub.model_repo import MAIN

if TYPE_CHECKING:
    from huggingface_hub import HfApi

NUM_REVISIONS = 20
"""Only the newest and the best are listed: each needs one request for its provenance."""
POLL_SECONDS = 30.0
"""Minimum time between two polls; the Hub asks clients not to poll faster."""
ANSWER_SECONDS = 10.0


class HubRegistry:
    """Read-only. Needs no token for a public repo. Raises HubError when a request to the Hub fails."""

    def __init__(self, repo: str, *, poll_seconds: float = POLL_SECONDS) -> None:
        self.repo = repo
        self.poll_seconds = poll_seconds
        self._polling = threading.Lock()
        self._polled_at: float | None = None
        self.found: list[Revision] = []
        """The result of the last successful poll."""
        self.was_polled = False
        """Whether a poll has ended, also one that failed."""
        self.error: HubError | None = None
        """Why the last poll failed; None when it succeeded."""

    def revisions(self) -> list[Revision]:
        """The newest revisions, newest first. Polls the Hub at most once per `poll_seconds`, also after a failed poll.

        A call made while another thread polls waits for that thread's result.
        """
        with self._polling:
            if self.is_due:
                self._polled_at, self.error = time.monotonic(), None
                try:
                    self.found = self._poll()
                except HubError as error:
                    self.error = error
                self.was_polled = True
            if self.error is not None:
                raise self.error
            return self.found

    @property
    def is_due(self) -> bool:
        """Whether the next call of `revisions` polls the Hub."""
        return self._polled_at is None or time.monotonic() - self._polled_at >= self.poll_seconds

    def fetch(self, revision: Revision) -> Revision:
        """The revision with its files on this disk; they are downloaded if missing."""
        with hub_errors(self.repo, DOWNLOAD):
            api = connect(DOWNLOAD, answer_seconds=ANSWER_SECONDS)
            folder = api.snapshot_download(self.repo, revision=revision.commit, ignore_patterns=[f"{RUNS}/*"])
            return replace(revision, path=Path(folder))

    def _poll(self) -> list[Revision]:
        with hub_errors(self.repo, DOWNLOAD):
            api = connect(DOWNLOAD, answer_seconds=ANSWER_SECONDS)
            if not api.repo_exists(self.repo):
                return []  # the first push creates it
            commits = api.list_repo_commits(self.repo, revision=MAIN)
            pushes = [read_push(commit.commit_id, commit.title, commit.message) for commit in commits]
            ours = [push for push in pushes if push is not None]
            best = best_push(ours)
            listed = ours[:NUM_REVISIONS]
            listed += [best] if best is not None and best not in listed else []
            found = (self._revision(api, push) for push in listed)
            return [revision for revision in found if revision is not None]

    def _revision(self, api: HfApi, push: Push) -> Revision | None:
        """None for a foreign commit with a title like ours: its provenance is missing or names another run or step."""
        from huggingface_hub.errors import RemoteEntryNotFoundError

        try:
            path = Path(api.hf_hub_download(self.repo, PROVENANCE, revision=push.commit))
            facts = atomic_io.read_json(path) or {}
            if (facts.get("run"), facts.get("step")) == (push.run, push.step) and are_facts(facts):
                return Revision.from_facts(facts, commit=push.commit, path=path.parent)
            reason = f"{PROVENANCE} is that of another run or step, or has values of wrong types"
        except (RemoteEntryNotFoundError, DamagedError, KeyError) as error:
            reason = f"{PROVENANCE}: {type(error).__name__}"
        print(f"Commit {push.commit[:12]} of {self.repo} is left out: {reason}.", file=sys.stderr)
        return None


@cache
def hub_registry(repo: str) -> HubRegistry:
    """One instance per repo and process, so that all callers share its polls."""
    return HubRegistry(repo)
