"""A process that was given another token or repo replaces those that still use the earlier ones.

Environments do not change, so a worker or publisher that was started before a token was replaced would use the old one
for ever. `takeover.json` holds no secret: a digest tells whether two processes were given the same.
"""

from __future__ import annotations

import hashlib
import os
import time

from pipeline.core import atomic_io
from pipeline.core.paths import Home
from pipeline.core.settings import Settings
from pipeline.hub.token import read_token

NO_TOKEN = "archive-"
"""Begins the digest of a process that was given an archive, but no token."""


class Credentials:
    """The token and repo that this process was given."""

    def __init__(self, settings: Settings) -> None:
        self._home = Home(settings.home)
        self._since = time.time()
        token = read_token()
        switches = str(
            (
                settings.hub_take_over,
                settings.hub_private,
                settings.hub_state,
                settings.archive,
                settings.hourly_price,
                settings.gallery_repo,
            )
        )
        given = "\0".join([token or "", settings.repo, os.environ.get("HF_ENDPOINT", ""), switches])
        digest = hashlib.sha256(given.encode()).hexdigest()[:16]
        self.digest = digest if token else f"{NO_TOKEN}{digest}" if settings.archive else None
        """None without a token and an archive: a command that was given neither replaces nobody."""

    def replace(self, other: str | None) -> bool:
        """Whether a process with the digest `other` makes way for this one."""
        return _replaces(self.digest, other)

    def request_takeover(self) -> None:
        """Ask the processes with other credentials to end."""
        atomic_io.write_json(self._home.takeover, {"credentials": self.digest, "requested_at": time.time()})

    def are_replaced(self) -> bool:
        """Whether a process whose credentials replace these has asked for that since this one started."""
        asked = atomic_io.readable_json(self._home.takeover)
        requested_at = asked.get("requested_at")
        is_newer = isinstance(requested_at, (int, float)) and requested_at > self._since
        return is_newer and _replaces(asked.get("credentials"), self.digest)


def _replaces(new: str | None, old: str | None) -> bool:
    """Whether a process with the digest `new` replaces one with `old`. Only another token replaces a token."""
    return new not in (None, old) and (_has_token(new) or not _has_token(old))


def _has_token(digest: str | None) -> bool:
    return digest is not None and not digest.startswith(NO_TOKEN)
