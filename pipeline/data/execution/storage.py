"""Reads and writes small files at any address: a path, `file://...`, or any other file system of fsspec (`s3://...`).

Files are replaced as a whole: readers see the old file or the new one. Does not depend on their content.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import fsspec
from fsspec.implementations.local import LocalFileSystem

from pipeline.core.atomic_io import replacing
from pipeline.core.environment import schemes, without_credentials
from pipeline.core.errors import InputError, PipelineError, require
from pipeline.core.text import without_errno

MAX_NAME_BYTES = 255
"""Maximum length of a file's or folder's name in the usual file systems."""
PACKAGES = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "sftp": "paramiko",
    "ssh": "paramiko",
}
"""Packages that read the usual addresses and are not installed with this program."""


def check(address: str, name: str) -> None:
    """Raises InputError with the remedy when files cannot be written to `address`, as far as this can be checked
    without connecting to it. `name` is the setting that has the address.
    """
    head, colon, _ = address.partition(":")
    is_path = not colon or "/" in head
    require(bool(address.strip()), name, address, "give a path, or an address as s3://bucket/folder")
    if is_path:
        is_short = all(len(os.fsencode(part)) <= MAX_NAME_BYTES for part in address.split("/"))
        require(is_short, name, f"{address[:80]}...", f"shorten the path: a name has at most {MAX_NAME_BYTES} bytes")
        return
    require("://" in address, name, address, f"write an address as {head}://..., or a path as ./{address}")
    location = address.rpartition("://")[2]
    login = location.partition("/")[0].rpartition("@")[0]
    if ":" in login:  # not repeated: it would appear in the log
        raise InputError(
            f"{name} is an address with a password; leave it out, and give credentials by the environment."
        )
    for scheme in schemes(address):
        _check_scheme(scheme, address, name)
    require(bool(location.strip("/")), name, address, "name what is there too, as in s3://bucket/folder")


def _check_scheme(scheme: str, address: str, name: str) -> None:
    require(scheme != "hf", name, address, "a preparation may not write to the Hub; use a folder or a bucket elsewhere")
    try:
        fsspec.get_filesystem_class(scheme)
    except ImportError as error:
        package = PACKAGES.get(scheme)
        remedy = (
            f"needs {package}; install it with `pip install {package}`" if package else f"cannot be opened: {error}"
        )
        raise InputError(f"{name} is {address!r}, and {scheme}://... {remedy}.") from error
    except ValueError as error:
        raise InputError(
            f"{name} is {address!r}, and nothing here knows {scheme}://...; use a path, s3://, gs:// or another address of fsspec."
        ) from error


def exists(address: str | Path) -> bool:
    system, path = _at(address)
    with _translated_errors(address):
        return system.exists(path)


def size(address: str | Path) -> int:
    """Size in bytes. Raises FileNotFoundError when there is no such file."""
    system, path = _at(address)
    with _translated_errors(address):
        return system.size(path)


def open_read(address: str | Path) -> BinaryIO:
    """The file, open for reading and seeking. Raises FileNotFoundError when there is no such file."""
    system, path = _at(address)
    with _translated_errors(address):
        return system.open(path, "rb")


def write_atomically(address: str | Path, writer: Callable[[BinaryIO], object]) -> None:
    """Let `writer` fill a file that then replaces the one at `address`; missing parent folders are created.

    An exception of `writer` is passed on, and the old file stays. For an address on another machine, the file is filled
    here and uploaded beside the target under a temporary name. The final rename is atomic if the file system's copy or
    rename is.
    """
    system, path = _at(address)
    if isinstance(system, LocalFileSystem):
        with replacing(Path(path)) as file:
            writer(file)
    else:
        _send(system, address, path, writer)


def _send(system: Any, address: str | Path, path: str, writer: Callable[[BinaryIO], object]) -> None:
    target = PurePosixPath(path)
    staged = str(target.with_name(_staged(target.name)))
    with tempfile.NamedTemporaryFile() as file:
        writer(file)  # type: ignore[arg-type]
        file.flush()
        with _translated_errors(address):
            system.makedirs(str(target.parent), exist_ok=True)
            try:
                system.put_file(file.name, staged)
                system.mv(staged, path)
            except BaseException:
                with contextlib.suppress(Exception):  # the first error is the one to report
                    system.rm_file(staged)
                raise


def _staged(name: str) -> str:
    return f".{name}.{secrets.token_hex(4)}.tmp"


@contextlib.contextmanager
def _translated_errors(address: str | Path) -> Iterator[None]:
    """Turns any exception of a remote file system into one PipelineError; FileNotFoundError is passed on."""
    try:
        yield
    except FileNotFoundError:
        raise
    except Exception as error:
        if "://" not in str(address) or isinstance(_at(address)[0], LocalFileSystem):
            raise
        message = " ".join(without_errno(without_credentials(f"{type(error).__name__}: {error}")).split())
        raise PipelineError(
            f"{address} cannot be used ({message}); check the address and the credentials for it in the environment, then go on."
        ) from error


def _at(address: str | Path) -> tuple[Any, str]:
    """The file system and the path in it. Raises InputError when no file system handles that address."""
    try:
        return fsspec.url_to_fs(str(address))
    except (ValueError, ImportError, TypeError) as error:
        raise InputError(
            f"Address {str(address)!r} cannot be opened ({error}); use a path, file://PATH, or install what reads it."
        ) from error
