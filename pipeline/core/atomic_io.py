"""Atomic file replacement, append-only JSON-lines files, and file locks that end with the process that holds them.

Does not depend on runs or models. A kill during a replacement leaves the old file or the new one, never a partial file.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import math
import os
import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from pipeline.core.errors import DamagedError

MAX_KEPT_FILES = 64
"""Maximum number of line files whose rows are cached in memory."""
LEFTOVER_SECONDS = 3_600.0
"""A staged file older than this was left by a killed writer; a file that is being written is younger."""
LOCK_PATIENCE_SECONDS = 0.05
"""How long `locked(wait=False)` retries, because `is_locked` takes the lock for an instant."""

_cache_lock = threading.Lock()
_line_cache: dict[Path, tuple[tuple[int, int], tuple[dict[str, Any], ...]]] = {}


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Yield a staged file to fill, then rename it to `path` in one step; readers see the old bytes or the new ones. An
    exception inside propagates, and the old file stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with staged.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        staged.replace(path)
    finally:
        staged.unlink(missing_ok=True)
    sync(path.parent)


def clear_leftovers(folder: Path) -> None:
    """Delete the staged files that killed writers left in `folder`: those older than LEFTOVER_SECONDS."""
    for staged in folder.glob(".*.tmp"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - staged.stat().st_mtime > LEFTOVER_SECONDS:
                staged.unlink()


def write_text(path: Path, text: str) -> None:
    """Replace the content of `path` by `text` in one step; readers see the old text or the new one."""
    with replacing(path) as file:
        file.write(text.encode())


def write_json(path: Path, value: Any) -> None:
    """Replace the content of `path` by `value` as JSON. NaN and infinity are not JSON: they are written as null."""
    write_text(path, _json(value))


def overwrite_json(path: Path, value: Any) -> None:
    """`write_json` for a full disk: overwrites `path` in place, if the blocks allocated to it are enough; else does
    nothing. A kill during the write can leave a torn file.
    """
    data, stat = _json(value).encode(), path.stat()
    if len(data) <= stat.st_blocks * 512:
        with path.open("r+b") as file:
            file.write(data.ljust(stat.st_size))


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in `path`, or None if there is no such file. Raises DamagedError when it is not a JSON object."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:  # the second: nested too deeply
        raise DamagedError(f"{path} is not JSON ({error}); delete it or restore it from a copy.") from error
    if not isinstance(value, dict):
        found = "null" if value is None else type(value).__name__
        raise DamagedError(f"{path} holds {found} instead of an object; delete it or restore it.")
    return value


def readable_json(path: Path) -> dict[str, Any]:
    """The object in `path`, or an empty one when the file is missing or damaged: for listings of many jobs, where one
    damaged file must not hide the others.
    """
    try:
        return read_json(path) or {}
    except DamagedError:
        return {}


NO_LINKS = (errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EMLINK)
"""Errors of a file system that cannot hard-link: other disk, links not supported, too many links."""


def link_or_copy(source: Path, target: Path) -> None:
    """Make `target` a hard link of `source`; a synced copy where the file system has no links."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        shutil.copyfile(source, target)
        with target.open("rb") as copy:
            os.fsync(copy.fileno())


def append_line(path: Path, row: dict[str, Any]) -> None:
    """Append one row as one line of JSON. A torn last line (killed writer) is ended first, so `row` is not lost."""
    line = json.dumps(_finite(row), ensure_ascii=False, allow_nan=False).encode() + b"\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as file:
        if file.tell() and _last_byte(file) != b"\n":
            line = b"\n" + line
        file.write(line)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Every complete row of a JSON-lines file. Text after the last newline is still being written and is left out."""
    return list(iterate_lines(path))


def iterate_lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return
    for line in data[: data.rfind(b"\n") + 1].splitlines():
        # The torn line of a killed writer, ended by the next append; one that is nested too deeply.
        with contextlib.suppress(ValueError, RecursionError):
            row = json.loads(line)
            if isinstance(row, dict):
                yield row


def cached_lines(path: Path) -> tuple[dict[str, Any], ...]:
    """`read_lines`, cached until the file changes; only a file's newest version is cached. Do not change the rows."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return ()
    stamp = (stat.st_mtime_ns, stat.st_size)
    with _cache_lock:
        cached = _line_cache.get(path)
    if cached is None or cached[0] != stamp:
        cached = (stamp, tuple(iterate_lines(path)))
        with _cache_lock:
            _line_cache[path] = cached
            while len(_line_cache) > MAX_KEPT_FILES:
                del _line_cache[next(iter(_line_cache))]
    return cached[1]


def tail(path: Path, max_lines: int = 200, max_bytes: int = 64_000) -> list[str]:
    """The last lines of a text file, oldest first; reads at most `max_bytes` however long the file is."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - max_bytes))
            text = file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return []
    lines = text.splitlines()
    return (lines[1:] if size > max_bytes else lines)[-max_lines:]


def sync(path: Path) -> None:
    """Make a file's bytes, or the renames inside a folder, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(path: Path) -> str:
    """The file's SHA-256 as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold an exclusive lock on `path`; yields whether it was acquired. The kernel releases it when the holder dies.

    The descriptor is not inherited, so a child does not keep the lock of its dead parent.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        yield _acquire(descriptor, wait=wait)
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, *, wait: bool) -> bool:
    """Lock an open file; returns whether it succeeded. Retries, as `is_locked` elsewhere locks it for an instant."""
    if wait:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return True
    deadline = time.monotonic() + LOCK_PATIENCE_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.002)


def is_locked(path: Path) -> bool:
    """Whether a living process holds the lock on `path`. Never creates the file.

    Takes a shared lock, so that two concurrent calls do not mistake each other for the holder.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _last_byte(file: Any) -> bytes:
    file.seek(-1, os.SEEK_END)
    return file.read(1)


def _json(value: Any) -> str:
    return json.dumps(_finite(value), ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    """`value` with every NaN or infinity replaced by None, at any depth."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
