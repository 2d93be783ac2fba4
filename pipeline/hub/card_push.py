"""What evaluations say of the pushed runs, as a content of the model repo: the card of the newest revision is renewed when
it has been evaluated, and the figures of every other one are kept there for a disk that was wiped (`archive`).
"""

from __future__ import annotations

import hashlib

from pipeline.core.errors import DamagedError
from pipeline.core.paths import Home
from pipeline.hub import push_log
from pipeline.hub.archive import evaluations, evaluations_file
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
        try:
            return None if revision is None else f"{revision} {self.folder.stat().st_mtime_ns}"
        except FileNotFoundError:
            return None

    def digest(self) -> str:
        revision = self._pushed()
        try:
            rows = evaluations(self._home, self._repo).values()
            return f"{revision} {hashlib.sha256(b' '.join(map(evaluations_file, rows))).hexdigest()}"
        except OSError as error:
            raise DamagedError(f"the evaluations cannot be read ({error}); evaluate the revisions again.") from error

    def _pushed(self) -> str | None:
        """The revision that was pushed last."""
        logs = [PushLog(run, self._repo).rows().values() for run in self._home.runs()]
        pushed = [row for rows in logs for row in rows if row["state"] == push_log.PUSHED and row["revision"]]
        newest = max(pushed, key=lambda row: row["time"], default=None)
        return newest["revision"] if newest else None
