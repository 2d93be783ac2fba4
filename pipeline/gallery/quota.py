"""Rate limits per visitor, per hour and per day, counted in a file so that they survive a restart.

A row of the file has a time and a salted hash of the visitor's address, never the address itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pipeline.core import atomic_io
from pipeline.core.errors import InputError

HOUR, DAY = 3_600, 86_400
"""Seconds."""
MAX_OLD_ROWS = 256
"""Max rows older than a day in the file; above it, the file is rewritten without them."""
SALT_BYTES = 32

Row = tuple[str, float]


class QuotaError(InputError):
    """The visitor has used up the quota; the message says when the next action is possible."""


class Pseudonyms:
    """Stable pseudonyms of visitors, from a keyed hash. The salt is created once and is readable by this user only."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def of(self, visitor: str) -> str:
        """16 hexadecimal digits. The first call creates the salt, so its caller must hold the folder's lock."""
        return hmac.digest(self._salt(), visitor.encode(), hashlib.sha256).hex()[:16]

    def _salt(self) -> bytes:
        with contextlib.suppress(FileNotFoundError):
            salt = self._path.read_bytes()
            if len(salt) == SALT_BYTES:
                return salt
        salt = secrets.token_bytes(SALT_BYTES)
        staged = self._path.with_name(f".{self._path.name}.{secrets.token_hex(4)}.tmp")
        with os.fdopen(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(salt)
            file.flush()
            os.fsync(file.fileno())
        staged.replace(self._path)
        return salt


@dataclass(frozen=True, kw_only=True)
class Quota:
    """One file that counts one kind of action. Callers of `take` must hold the folder's lock."""

    path: Path
    per_hour: int
    per_day: int
    deed: str
    """Display name of the counted action, which starts the message: `Examples kept`."""
    clock: Callable[[], float] = time.time
    """Seconds since 1970."""

    def take(self, by: str) -> None:
        """Count one action of the visitor with pseudonym `by`. Raises QuotaError when it would exceed the quota."""
        now = self.clock()
        rows = self._rows()
        # abs: rows far in the future, from a wrong clock, must not lock a visitor out for good.
        recent = [row for row in rows if abs(now - row[1]) < DAY]
        own = sorted(at for who, at in recent if who == by)
        windows = ((HOUR, self.per_hour, "hour"), (DAY, self.per_day, "24 hours"))
        waits = [(own[-limit] + seconds - now, limit, name) for seconds, limit, name in windows if len(own) >= limit]
        wait_seconds, limit, name = max(waits, default=(0.0, 0, ""))
        if wait_seconds > 0:
            raise QuotaError(self._refusal(limit, name, now, wait_seconds))
        self._write([*recent, (by, now)], num_old=len(rows) - len(recent))

    def _refusal(self, limit: int, name: str, now: float, wait_seconds: float) -> str:
        minutes = -int(-wait_seconds // 60)
        span = f"{minutes} min" if minutes <= 90 else f"{-(-minutes // 60)} h"
        after = datetime.fromtimestamp(now + wait_seconds, UTC)
        return (
            f"{self.deed} from your address in the last {name}: {limit}, which is the most; "
            f"try again in {span}, after {after:%H:%M} UTC."
        )

    def _rows(self) -> list[Row]:
        found = atomic_io.iterate_lines(self.path)
        return [
            (row["by"], row["at"])
            for row in found
            if isinstance(row.get("by"), str) and isinstance(row.get("at"), (int, float))
        ]

    def _write(self, recent: list[Row], *, num_old: int) -> None:
        """Append the last row, or replace the file when it has too many old rows."""
        if num_old <= MAX_OLD_ROWS:
            atomic_io.append_line(self.path, _line(recent[-1]))
            return
        with atomic_io.replacing(self.path) as file:
            file.write("".join(json.dumps(_line(row)) + "\n" for row in recent).encode())


def _line(row: Row) -> dict[str, object]:
    return {"by": row[0], "at": row[1]}
