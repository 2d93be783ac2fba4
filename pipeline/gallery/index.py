"""An index of all examples, newest first, with what a search needs, small enough to stay in memory."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pipeline.gallery.cached import Cached
from pipeline.gallery.example import ID, read_example
from pipeline.gallery.search import Entry


@dataclass(frozen=True)
class FolderListing:
    """A snapshot of the folder."""

    entries: tuple[Entry, ...]
    """Newest first."""
    damaged: frozenset[str]
    """Ids of files that cannot be read; they are not in `entries`."""

    @property
    def num_files(self) -> int:
        return len(self.entries) + len(self.damaged)

    @cached_property
    def ids(self) -> dict[bytes, str]:
        """Id of the newest example with each fingerprint."""
        return {entry.fingerprint: entry.id for entry in reversed(self.entries)}


class Index:
    """Reads each file of the folder once, and again only after it was replaced."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._entries: dict[str, tuple[tuple[int, int], Entry]] = {}
        self._listing = Cached(folder, self._scan)

    def listing(self) -> FolderListing:
        return self._listing.get()

    def _scan(self) -> FolderListing:
        readable, damaged = {}, set()
        for example_id, stamp in self._files():
            cached = self._entries.get(example_id)
            entry = cached[1] if cached and cached[0] == stamp else self._read_entry(example_id)
            if entry is None:
                damaged.add(example_id)
            else:
                readable[example_id] = (stamp, entry)
        self._entries = readable
        entries = sorted((entry for _, entry in readable.values()), reverse=True)
        return FolderListing(tuple(entries), frozenset(damaged))

    def _files(self) -> Iterator[tuple[str, tuple[int, int]]]:
        """Id of every example's file, with its modification time (ns) and size (bytes)."""
        if not self._folder.is_dir():
            return
        with os.scandir(self._folder) as found:
            for file in found:
                example_id, _, ending = file.name.partition(".")
                if ending == "json" and ID.fullmatch(example_id):
                    with contextlib.suppress(FileNotFoundError):  # deleted since the scan
                        stat = file.stat()
                        yield example_id, (stat.st_mtime_ns, stat.st_size)

    def _read_entry(self, example_id: str) -> Entry | None:
        example = read_example(self._folder / f"{example_id}.json")
        return None if example is None else Entry.of(example)
