"""Every pushed revision that this instance can use: those on this disk and those in the model repo on the Hub.

The page, its endpoints, the command line and the generator all use it, so that they never disagree. Read-only: only the
publisher adds revisions. Without a model repo it sends no request to the Hub.
"""

from __future__ import annotations

import threading
from dataclasses import replace

from pipeline.artifacts.revision import NEWEST, Registry, Revision, newest_of, pick
from pipeline.core.errors import HubError, InputError
from pipeline.core.paths import Home
from pipeline.core.settings import Settings
from pipeline.hub.hub_registry import HubRegistry, hub_registry


class RevisionStore:
    """The revisions of one instance. The constructor reads nothing."""

    def __init__(self, settings: Settings) -> None:
        self.local = Registry(Home(settings.home), settings.repo)
        self._hub: HubRegistry | None = hub_registry(settings.hub_repo) if settings.hub_repo else None
        self._refreshing = threading.Lock()

    def revisions(self) -> list[Revision]:
        """Newest first; a revision on both disk and Hub is listed once. Waits for the Hub, at most twice a minute.

        When the Hub fails: only those on this disk. Raises HubError if the Hub fails and this disk has none.
        """
        local = self.local.revisions()
        if self._hub is None:
            return local
        try:
            return merged(local, self._hub.revisions())
        except HubError:
            if not local:
                raise
            return local

    def known(self) -> list[Revision]:
        """As `revisions`, without waiting: uses the last poll of the Hub; a thread polls again when that is due."""
        if self._hub is None:
            return self.local.revisions()
        if self._hub.is_due:
            self._refresh_in_background()
        return merged(self.local.revisions(), self._hub.found)

    @property
    def fault(self) -> str | None:
        """Why the Hub's revisions are missing: the error of the last poll; None when it succeeded."""
        return str(self._hub.error) if self._hub is not None and self._hub.error is not None else None

    def newest(self) -> Revision | None:
        return newest_of(self.revisions())

    def best(self) -> Revision | None:
        """The revision with the lowest validation loss; None when no loss was measured."""
        measured = [(revision.eval_loss, revision) for revision in self.revisions() if revision.eval_loss is not None]
        return min(measured, key=lambda item: item[0])[1] if measured else None

    def choose(self, text: str = NEWEST) -> Revision:
        """The revision that `text` names (an id, a prefix of one, or `newest`), with its files on this disk.

        Raises InputError when nothing was pushed yet, or when `text` matches no revision or several; HubError when a
        request to the Hub is needed and fails.
        """
        revisions = self.revisions()
        if not revisions:
            raise InputError(
                "No checkpoint has been pushed yet; train a model first, or wait for the first checkpoint of the run that trains."
            )
        return self.fetch(pick(revisions, text, self.local.repo))

    def fetch(self, revision: Revision) -> Revision:
        """The revision with its files on this disk; they are downloaded if missing."""
        if self._hub is None or revision.path.parent == self.local.folder:
            return revision
        return self._hub.fetch(revision)

    def _refresh_in_background(self) -> None:
        if not self._refreshing.acquire(blocking=False):
            return

        def refresh() -> None:
            try:
                self.revisions()
            except HubError:
                pass  # reported by `fault`
            finally:
                self._refreshing.release()

        threading.Thread(target=refresh, name="hub-revisions", daemon=True).start()


def merged(local: list[Revision], remote: list[Revision]) -> list[Revision]:
    """Newest first. A revision in both lists is taken from the local one, with its commit on the Hub added."""
    commits = {revision.revision: revision.commit for revision in remote}
    local_ids = {revision.revision for revision in local}
    here = [replace(revision, commit=revision.commit or commits.get(revision.revision)) for revision in local]
    return sorted(
        [*here, *(revision for revision in remote if revision.revision not in local_ids)],
        key=lambda revision: revision.pushed_at,
        reverse=True,  # the sort is stable: revisions of the same second keep their order
    )
