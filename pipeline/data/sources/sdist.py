"""Reads a source distribution (.tar.gz) without unpacking it to disk, in bounded memory. Nothing of it is run.

The format: https://packaging.python.org/specifications/source-distribution-format.
"""

from __future__ import annotations

import email
import os
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from pipeline.data.readers.decompress import StreamError, Unpacked
from pipeline.data.sources.base import BOMB, DAMAGED, LONGEST_TEXT
from pipeline.data.sources.installed import license_of

MAX_UNPACKED_BYTES = 2**29
"""Maximum of an archive's bytes when it is unpacked; SciPy's are 114 MB."""
MAX_ENTRIES = 50_000
MAX_HEADER_BYTES = 2**17
"""Maximum of the bytes between two files, which tarfile keeps in memory: long names and other attributes."""
BUFFER_BYTES = 2**16
"""Bytes that tarfile reads at a time."""
MAX_METADATA_BYTES = 2**20
TOO_MANY = "archive of more than 50,000 files"
METADATA = "PKG-INFO"


@dataclass(frozen=True)
class ArchiveEntry:
    """One file, folder, link or device of an archive."""

    path: str
    """Below the archive's top folder; untrusted text."""
    kind: str
    """`file`, `folder` or `other`: links and devices."""
    num_bytes: int
    data: bytes | None
    """The content of a file that was asked for and is not longer than LONGEST_TEXT."""


class Archive:
    """The entries of one source distribution, in order."""

    def __init__(self, file: BinaryIO) -> None:
        """`file`: the archive, at its start."""
        num_bytes = file.seek(0, os.SEEK_END)
        file.seek(0)
        self._unpacked = Unpacked(file, ".gz", num_bytes)

    def share(self) -> float:
        """Fraction of the archive that was read."""
        return self._unpacked.share() or 0.0

    def entries(self, wants: Callable[[str], bool]) -> Iterator[ArchiveEntry]:
        """Every entry, with the content of the files whose path `wants` accepts.

        Raises StreamError, with the reason, where the archive is damaged or exceeds a limit.
        """
        stream = _Limited(self._unpacked.chunks())
        try:
            # r|: reads forward only, and reads no more than it must.
            with tarfile.open(fileobj=stream, mode="r|", encoding="utf-8", bufsize=BUFFER_BYTES) as tar:  # type: ignore[call-overload]
                for _ in range(MAX_ENTRIES):
                    member = tar.next()
                    if member is None:
                        return
                    tar.members.clear()  # it keeps them all
                    if member.issparse():  # its size says nothing about the bytes that it takes in the archive
                        raise StreamError(DAMAGED)
                    stream.limit = member.offset_data + member.size + MAX_HEADER_BYTES
                    yield _entry(tar, member, wants)
                if tar.next() is not None:
                    raise StreamError(TOO_MANY)
        # Besides tarfile's own errors: a header with an impossible number or name, and an end in a header.
        except (tarfile.TarError, EOFError, ValueError, OverflowError, IndexError, KeyError) as error:
            raise StreamError(DAMAGED) from error


def license_in(metadata: ArchiveEntry) -> str:
    """The licence that the entry METADATA names; empty if it names none."""
    if metadata.data is None or len(metadata.data) > MAX_METADATA_BYTES:
        return ""
    return license_of(email.message_from_string(metadata.data.decode("utf-8", "replace")))


def _entry(tar: tarfile.TarFile, member: tarfile.TarInfo, wants: Callable[[str], bool]) -> ArchiveEntry:
    path = member.name.removeprefix("./").partition("/")[2]
    data = None
    if member.isreg() and wants(path) and member.size <= LONGEST_TEXT:
        file = tar.extractfile(member)
        assert file is not None, "a regular file has a content"
        data = file.read()
    kind = "file" if member.isreg() else "folder" if member.isdir() else "other"
    return ArchiveEntry(path, kind, member.size, data)


class _Limited:
    """A file object over chunks of bytes. Reading beyond `limit` raises StreamError."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._buffer = b""
        self._position = 0
        self.limit = MAX_HEADER_BYTES

    def read(self, num_bytes: int) -> bytes:
        while len(self._buffer) < num_bytes and (chunk := next(self._chunks, b"")):
            self._buffer += chunk
        data, self._buffer = self._buffer[:num_bytes], self._buffer[num_bytes:]
        self._position += len(data)
        if self._position > min(self.limit, MAX_UNPACKED_BYTES):
            raise StreamError(BOMB)
        return data
