"""Every pushed revision that this instance can use: those on this disk and those in the model repo on the Hub. Until
there is one, the starter revision.

The page, its endpoints, the command line and the generator all use it, so that they never disagree. Read-only: only the
publisher adds revisions. Without a model repo it sends no request to the Hub.
"""

from __future__ import annotations

import threading
from dataclasses import replace

from pipeline.artifacts.revision import NEWEST, Registry, Revision, pick
from pipeline.artifacts.starter import STARTER, starter
from pipeline.core.errors import HubError, InputError
from pipeline.core.paths import Home
from pipeline.core.settings import Settings
from pipeline.hub.hub_registry import HubRegistry, hub_registry
from pipeline.hub.other_models import OtherModel, fetch_model, find_model, is_other, on_disk


class RevisionStore:
    """The revisions of one instance. The constructor reads nothing."""

    def __init__(self, settings: Settings) -> None:
        self._home = Home(settings.home)
        self.local = Registry(self._home, settings.repo)
        self._hub: HubRegistry | None = hub_registry(settings.hub_repo) if settings.hub_repo else None
        self._refreshing = threading.Lock()

    def revisions(self) -> list[Revision]:
        """Newest first; a revision on both disk and Hub is listed once. Waits for the Hub, at most twice a minute.

        When the Hub fails: only those on this disk. Raises HubError if the Hub fails and this disk has none.
        """
        return self._pushed() or _starters()

    def _pushed(self) -> list[Revision]:
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
        """As `revisions`, without waiting: uses the last poll of the Hub; a thread polls again when that is due. Before the
        first one has ended, nobody knows whether there are others than the starter.
        """
        if self._hub is None:
            return self.local.revisions() or _starters()
        if self._hub.is_due:
            self._refresh_in_background()
        found = merged(self.local.revisions(), self._hub.found)
        return found or (_starters() if self._hub.was_polled else [])

    @property
    def fault(self) -> str | None:
        """Why the Hub's revisions are missing: the error of the last poll; None when it succeeded."""
        return str(self._hub.error) if self._hub is not None and self._hub.error is not None else None

    def choose(self, text: str = NEWEST) -> Revision:
        """The revision that `text` names (an id, a prefix of one, `newest`, `best`, `starter`, or `OWNER/NAME[@REVISION]` for a
        model of another repo, which is downloaded), with its files on this disk. While nothing was pushed, and while the Hub cannot be read and this disk has none, `newest` is the starter.

        Raises InputError when `text` matches no revision or several; HubError when a request to the Hub is needed and
        fails.
        """
        if is_other(text):
            return on_disk(self._home, text) or fetch_model(self._home, find_model(text))
        own = starter()
        if own is not None and text in (STARTER, own.revision):
            return own
        try:
            revisions = self.revisions()
        except HubError:
            if own is None or text != NEWEST:
                raise
            return own
        if not revisions:
            raise InputError(
                "No checkpoint has been pushed yet; train a model first, or wait for the first checkpoint of the run that trains."
            )
        return self.fetch(pick(revisions, text, self.local.repo))

    def to_download(self, text: str) -> OtherModel | None:
        """The model of another repo that `choose` would download; None when it would not. Raises its errors."""
        return find_model(text) if is_other(text) and on_disk(self._home, text) is None else None

    def fetch(self, revision: Revision) -> Revision:
        """The revision with its files on this disk; they are downloaded if missing."""
        if self._hub is None or revision.path.parent == self.local.folder or revision.repo == STARTER:
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


def _starters() -> list[Revision]:
    own = starter()
    return [] if own is None else [own]


def merged(local: list[Revision], remote: list[Revision]) -> list[Revision]:
    """Newest first. A revision in both lists is taken from the local one, with its commit on the Hub added."""
    commits = {revision.revision: revision.commit for revision in remote}
    local_ids = {revision.revision for revision in local}
    here = [replace(revision, commit=revision.commit or commits.get(revision.revision)) for revision in local]
    return sorted(
        [*here, *(revision for revision in remote if revision.revision not in local_ids)],
        key=lambda revision: revision.pushed_at,
        reverse=True,  # the sort is stable: older revisions, whose times are in whole seconds, keep their order
    )
