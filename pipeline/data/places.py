"""Whole small files at any address: a path, `file://...`, or any other file system that fsspec knows (`s3://...`).

Readers see the old file or the new one. Knows nothing of what is in them.
"""

from __future__ import annotations

import contextlib
import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import fsspec
from fsspec.implementations.local import LocalFileSystem

from pipeline.errors import InputError
from pipeline.files import replacing


def exists(address: str | Path) -> bool:
    system, path = _at(address)
    return system.exists(path)


def size(address: str | Path) -> int:
    """Bytes. Raises FileNotFoundError when there is no such file."""
    system, path = _at(address)
    return system.size(path)


def open_read(address: str | Path) -> BinaryIO:
    """The file's bytes, as something to read and seek in. Raises FileNotFoundError when there is no such file."""
    system, path = _at(address)
    return system.open(path, "rb")


def write_atomically(address: str | Path, writer: Callable[[BinaryIO], object]) -> None:
    """Let `writer` fill a file that then takes the place of the one at `address`, and make the folders above it.

    What `writer` raises is raised on, and the old file stays. Elsewhere than on this machine the file is filled here
    and sent under another name beside it; a name given at last is one step wherever a copy or a rename is.
    """
    system, path = _at(address)
    if isinstance(system, LocalFileSystem):
        with replacing(Path(path)) as file:
            writer(file)
    else:
        _send(system, path, writer)


def _send(system: Any, path: str, writer: Callable[[BinaryIO], object]) -> None:
    target = PurePosixPath(path)
    staged = str(target.with_name(_staged(target.name)))
    with tempfile.NamedTemporaryFile() as file:
        writer(file)  # type: ignore[arg-type]
        file.flush()
        system.makedirs(str(target.parent), exist_ok=True)
        try:
            system.put_file(file.name, staged)
            system.mv(staged, path)
        except BaseException:
            with contextlib.suppress(OSError):  # the first error is the one to tell
                system.rm_file(staged)
            raise


def _staged(name: str) -> str:
    return f".{name}.{secrets.token_hex(4)}.tmp"


def _at(address: str | Path) -> tuple[Any, str]:
    """The file system and the path in it. Raises InputError when no file system answers to that address."""
    try:
        return fsspec.url_to_fs(str(address))
    except (ValueError, ImportError) as error:
        raise InputError(
            f"Address {str(address)!r} cannot be opened ({error}); use a path, file://PATH, or install what reads it."
        ) from error
