"""Downloaded source distributions in a folder of bounded size, so that a second scan need not download them again.

Each file has its sha256 as its name and is checked whenever it is opened, so that it does not matter who wrote it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pipeline.data.sources.index_page import Release
from pipeline.data.sources.package_index import TOO_LARGE, IndexClient, UnusableArchive

MAX_ARCHIVE_BYTES = 2**26
"""Maximum size of one archive; Matplotlib's is 33 MB."""
MAX_STORE_BYTES = 2**30
NAME = re.compile(r"[0-9a-f]{64}\.tar\.gz")
LEFTOVER_SECONDS = 3_600.0
"""Age at which an unfinished download is deleted: whoever began it was killed."""
CHUNK = 2**20


@dataclass(frozen=True)
class SdistStore:
    """Several processes may use one folder."""

    folder: Path
    """Created when it is needed."""
    max_bytes: int = MAX_STORE_BYTES
    """The files that were used longest ago are deleted above this size."""
    also: Path | None = None
    """Another folder of this kind, which is only read."""

    @contextlib.contextmanager
    def opened(self, release: Release, client: IndexClient) -> Iterator[BinaryIO]:
        """The archive of `release`, downloaded unless it is here. Raises UnusableArchive when it is too large or is not
        what the index announced, and the errors of `IndexClient.fetch`.
        """
        if (release.num_bytes or 0) > MAX_ARCHIVE_BYTES:
            raise UnusableArchive(TOO_LARGE)
        with self._open(release, client) as file:
            yield file

    def _open(self, release: Release, client: IndexClient) -> BinaryIO:
        name = f"{release.sha256}.tar.gz"
        for folder in filter(None, (self.folder, self.also)):
            if (file := _checked(folder / name, release.sha256)) is not None:
                return file
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self._download(name, release, client)
        self.trim(keep=name)
        return file

    def _download(self, name: str, release: Release, client: IndexClient) -> BinaryIO:
        descriptor, staged = tempfile.mkstemp(dir=self.folder, prefix=".", suffix=".tmp")
        file = os.fdopen(descriptor, "w+b")
        try:
            client.fetch(release, file, MAX_ARCHIVE_BYTES)
            file.flush()
            Path(staged).replace(self.folder / name)
        except BaseException:
            file.close()
            Path(staged).unlink(missing_ok=True)
            raise
        file.seek(0)
        return file

    def adopt(self, other: Path) -> None:
        """Move the archives in the folder `other` into this one. An untrusted process writes there: they are copied, so that
        it cannot change them any more, and nothing that it links to is opened or deleted.
        """
        try:
            folder = os.open(other, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:  # missing, or no folder
            return
        try:
            for name in filter(NAME.fullmatch, os.listdir(folder)):  # noqa: PTH208 - an open folder has no path
                self._copy(name, folder)
        finally:
            os.close(folder)
        self.trim()

    def _copy(self, name: str, folder: int) -> None:
        """Move the file `name` of the open folder `folder` here, unless it is no file or is too large."""
        try:
            source = os.fdopen(os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder), "rb")
        except OSError:  # a link, or gone
            return
        with source:
            found = os.fstat(source.fileno())
            if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_ARCHIVE_BYTES:
                return
            self.folder.mkdir(parents=True, exist_ok=True)
            descriptor, staged = tempfile.mkstemp(dir=self.folder, prefix=".", suffix=".tmp")
            try:
                with os.fdopen(descriptor, "wb") as copy:
                    for _ in range(0, found.st_size, CHUNK):  # not to its end: it may grow meanwhile
                        copy.write(source.read(CHUNK))
                Path(staged).replace(self.folder / name)
            finally:
                Path(staged).unlink(missing_ok=True)
        os.unlink(name, dir_fd=folder)

    def trim(self, keep: str = "") -> None:
        """Delete what was used longest ago until the rest fits, and what killed processes left; never the file `keep`."""
        with contextlib.suppress(OSError):  # another process may do the same
            found = [(path.stat(), path) for path in self.folder.iterdir()]
            archives = sorted((s.st_mtime, s.st_size, path) for s, path in found if NAME.fullmatch(path.name))
            total = sum(size for _, size, _ in archives)
            for _, size, path in archives:
                if total > self.max_bytes and path.name != keep:
                    path.unlink()
                    total -= size
            for status, path in found:
                if path.suffix == ".tmp" and time.time() - status.st_mtime > LEFTOVER_SECONDS:
                    path.unlink()


def _checked(path: Path, sha256: str) -> BinaryIO | None:
    """The file, opened, if its content has this hash; another one is deleted."""
    try:
        file = path.open("rb")
    except OSError:
        return None
    with contextlib.suppress(OSError):
        os.utime(path)  # the file was used now
    if _sha256(file) == sha256:
        file.seek(0)
        return file
    file.close()
    with contextlib.suppress(OSError):
        path.unlink()
    return None


def _sha256(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    while chunk := file.read(CHUNK):
        digest.update(chunk)
    return digest.hexdigest()
