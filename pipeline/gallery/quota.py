"""How much one visitor may do in an hour and in a day, counted in a file, so that a restart forgets nothing.

The file holds when and a salted hash of who, never an address.
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
MOST_OLD_ROWS = 256
"""Rows older than a day that may wait in a file until it is written anew without them."""
SALT_BYTES = 32

Row = tuple[str, float]


class QuotaError(InputError):
    """This visitor did as much as one may; the message says when the next one is possible."""


class Pseudonyms:
    """Stable names of visitors that tell nobody who they are. The salt is made once, readable by this user only."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def of(self, visitor: str) -> str:
        """16 hexadecimal digits. Whoever asks for the first one holds the folder's lock."""
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
    """One file that counts one kind of deed. Whoever takes from it holds the folder's lock."""

    path: Path
    per_hour: int
    per_day: int
    deed: str
    """What is counted, for people: `examples kept`."""
    clock: Callable[[], float] = time.time
    """Seconds since 1970."""

    def take(self, by: str) -> None:
        """Count one more of the visitor `by`, a pseudonym. Raises QuotaError when that would be too many."""
        now = self.clock()
        rows = self._rows()
        recent = [row for row in rows if abs(now - row[1]) < DAY]  # a clock that was wrong locks nobody out for good
        own = sorted(at for who, at in recent if who == by)
        windows = ((HOUR, self.per_hour, "hour"), (DAY, self.per_day, "24 hours"))
        waits = [(own[-most] + seconds - now, most, name) for seconds, most, name in windows if len(own) >= most]
        wait, most, name = max(waits, default=(0.0, 0, ""))
        if wait > 0:
            raise QuotaError(self._refusal(most, name, now, wait))
        self._write([*recent, (by, now)], num_old=len(rows) - len(recent))

    def _refusal(self, most: int, name: str, now: float, wait: float) -> str:
        minutes = -int(-wait // 60)
        span = f"{minutes} min" if minutes <= 90 else f"{-(-minutes // 60)} h"
        after = datetime.fromtimestamp(now + wait, UTC)
        return (
            f"{self.deed} from your address in the last {name}: {most}, which is the most; "
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
        """Append the last row, or replace the file when too many old ones are in it."""
        if num_old <= MOST_OLD_ROWS:
            atomic_io.append_line(self.path, _line(recent[-1]))
            return
        with atomic_io.replacing(self.path) as file:
            file.write("".join(json.dumps(_line(row)) + "\n" for row in recent).encode())


def _line(row: Row) -> dict[str, object]:
    return {"by": row[0], "at": row[1]}
