"""What the publisher of a repo says about pushes that do not arrive, and the request of a person to try again at once.

publisher-<repo>.json    the publisher's status, written by it alone
retry-<repo>.json        the newest request to try again, written by who asks
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.core import atomic_io
from pipeline.core.paths import Home


@dataclass(frozen=True, kw_only=True)
class Retrying:
    """A push that a passing fault delays."""

    run: str
    step: int
    attempts: int
    """Attempts in a row that failed, of this push and of those before it."""
    since: float
    """When the first of them failed, in Unix seconds."""
    next_at: float
    """When the next attempt starts, in Unix seconds."""
    error: str
    """Why the newest of them failed, for people."""


def write_retrying(home: Home, repo: str, retrying: Retrying | None) -> None:
    """For the publisher only."""
    if retrying is None:
        home.publisher_status(repo).unlink(missing_ok=True)
    else:
        atomic_io.write_json(home.publisher_status(repo), asdict(retrying))


def read_retrying(home: Home, repo: str) -> Retrying | None:
    """None when no push is delayed, also when the file cannot be read."""
    found: dict[str, Any] = atomic_io.readable_json(home.publisher_status(repo))
    try:
        retrying = Retrying(**found) if found else None
    except TypeError:  # of another version
        return None
    numbers = [retrying.step, retrying.attempts, retrying.since, retrying.next_at] if retrying else []
    return retrying if all(isinstance(number, (int, float)) for number in numbers) else None


def request_retry(home: Home, repo: str) -> None:
    """Ask the publisher to try now whatever waits, and again what the Hub has refused so far."""
    home.path.mkdir(parents=True, exist_ok=True)
    atomic_io.write_json(home.retry_request(repo), {"requested_at": time.time()})


def retry_requested_at(home: Home, repo: str) -> float:
    """Unix seconds of the newest request; 0 without one."""
    found = atomic_io.readable_json(home.retry_request(repo)).get("requested_at")
    return float(found) if isinstance(found, (int, float)) else 0.0
