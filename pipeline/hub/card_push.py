"""The card of the pushed revision as a content of the model repo: it is renewed when that revision has been evaluated."""

from __future__ import annotations

from pipeline.core.atomic_io import sha256
from pipeline.core.errors import DamagedError
from pipeline.core.paths import Home
from pipeline.hub import push_log
from pipeline.hub.file_push import Content
from pipeline.hub.push_log import PushLog


class CardContent(Content):
    name = "The card"

    def __init__(self, home: Home, repo: str) -> None:
        self._home = home
        self._repo = repo
        self.marker = home.pushed_card(repo)
        self.folder = home.evaluations

    def stamp(self) -> object:
        revision = self._pushed()
        path = self._home.evaluation(revision) if revision else None
        try:
            return None if path is None else f"{revision} {path.stat().st_mtime_ns}"
        except OSError:
            return None

    def digest(self) -> str:
        revision = self._pushed()
        try:
            return f"{revision} {sha256(self._home.evaluation(revision or ''))}"
        except OSError as error:
            raise DamagedError(
                f"the evaluation of revision {revision} cannot be read ({error}); evaluate it again."
            ) from error

    def _pushed(self) -> str | None:
        """The revision that was pushed last."""
        logs = [PushLog(run, self._repo).rows().values() for run in self._home.runs()]
        pushed = [row for rows in logs for row in rows if row["state"] == push_log.PUSHED and row["revision"]]
        newest = max(pushed, key=lambda row: row["time"], default=None)
        return newest["revision"] if newest else None
