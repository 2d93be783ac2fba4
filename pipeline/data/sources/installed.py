"""The Python source of the packages installed here: real code, with name and licence, and no network.

Files come in an order shuffled by a hash of their names: the same on every scan of the same environment, and the first
thousand are a fair sample of all, so that rates settle early.
"""

from __future__ import annotations

import csv
import hashlib
import importlib.metadata
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import Distribution
from itertools import chain
from typing import Any

from pipeline.data.sources.base import (
    LONGEST_TEXT,
    TOO_LONG,
    UNREADABLE,
    BadRow,
    Batch,
    BatchBuilder,
    Row,
    decoded,
)
from pipeline.data.sources.shard import Piece, Source

SHARD_FILES = 2_048
PIECE_FILES = 256
BROKEN_PACKAGE = "package without readable metadata"


@dataclass(frozen=True)
class InstalledFile:
    """One .py file of one distribution."""

    distribution: str
    path: str
    """As the distribution lists it, with slashes."""
    license: str
    place: str
    """Where it lies on this machine."""


class InstalledSource(Source):
    """Every .py file of `distributions`, once; those of this environment unless given."""

    spec = "installed"
    note = (
        "These are the packages installed here, not the course's 20 million files from GitHub: with the course's "
        "keywords, most of what is kept is pandas itself, as the list of repositories shows."
    )

    def __init__(self, distributions: Iterable[Distribution] | None = None) -> None:
        self._distributions = distributions

    def shards(self) -> list[InstalledShard]:
        found = importlib.metadata.distributions() if self._distributions is None else self._distributions
        files, bad = installed_files(found)
        starts = range(0, max(1, len(files)), SHARD_FILES)
        return [
            InstalledShard(number, tuple(files[start : start + SHARD_FILES]), () if number else tuple(bad))
            for number, start in enumerate(starts)
        ]


@dataclass(frozen=True)
class InstalledShard:
    """Some thousand files."""

    number: int
    files: tuple[InstalledFile, ...]
    bad: tuple[BadRow, ...]
    """Packages that could not be read; the first shard tells of them."""
    num_bytes: None = None
    """Every file would have to be asked; shards are of equal length but for the last."""

    @property
    def name(self) -> str:
        return f"installed files {self.number}"

    @property
    def num_files(self) -> int:
        return len(self.files)

    @property
    def local_files(self) -> list[str]:
        return [file.place for file in self.files]

    def pieces(self) -> Iterator[Piece]:
        for start in range(0, max(1, len(self.files)), PIECE_FILES):
            files = self.files[start : start + PIECE_FILES]
            share = (start + len(files)) / max(1, len(self.files))
            yield Piece(partial(_read, files, () if start else self.bad), share)


def _read(files: Iterable[InstalledFile], bad: Iterable[BadRow]) -> Batch:
    builder = BatchBuilder()
    for row in chain(bad, map(_row, files)):
        builder.add(row)
    return builder.batch()


def installed_files(distributions: Iterable[Distribution]) -> tuple[list[InstalledFile], list[BadRow]]:
    """The .py files of `distributions` in shuffled order, each once, and the distributions that could not be read."""
    found: dict[str, InstalledFile] = {}
    bad = []
    for distribution in distributions:
        try:
            for file in _python_files(distribution):
                found.setdefault(file.place, file)
        # What other tools left in an environment can be wrong in any of these ways; the next one may be right.
        except (OSError, ValueError, KeyError, TypeError, AttributeError, csv.Error):
            bad.append(BadRow(BROKEN_PACKAGE, str(getattr(distribution, "_path", distribution))))
    return sorted(found.values(), key=_shuffled), bad


def _python_files(distribution: Distribution) -> Iterator[InstalledFile]:
    metadata = distribution.metadata
    name = metadata["Name"]
    if not name:
        raise ValueError("a package without a name")
    license_name = license_of(metadata)
    root = os.path.realpath(str(distribution.locate_file("")))
    for path in distribution.files or ():  # None when it has no list of files, as some editable installs
        if path.suffix == ".py":
            listed = path.as_posix()
            # Not realpath for each: it would ask the disk for every folder above every file.
            yield InstalledFile(name, listed, license_name, os.path.normpath(f"{root}/{listed}"))


def _row(file: InstalledFile) -> Row | BadRow:
    try:
        with open(file.place, "rb") as opened:  # noqa: PTH123 - for 10,000 small files, making Paths costs more than reading
            data = opened.read()
    except OSError:
        return BadRow(UNREADABLE, file.place)
    if len(data) > LONGEST_TEXT:
        return BadRow(TOO_LONG, file.place)
    content = decoded(data, file.place)
    if isinstance(content, BadRow):
        return content
    return (file.distribution, file.path, "1", str(len(data)), content, file.license)


def license_of(metadata: Any) -> str:
    """The licence a distribution's metadata names, in one short line; empty when it names none."""
    text = (metadata.get("License-Expression") or metadata.get("License") or "").strip()
    if text and "\n" not in text and len(text) <= 100:
        return text
    classifiers = metadata.get_all("Classifier") or []
    names = [line.rpartition("::")[2].strip() for line in classifiers if line.startswith("License ::")]
    return " AND ".join(names) or text.partition("\n")[0].strip()[:100]


def _shuffled(file: InstalledFile) -> bytes:
    return hashlib.blake2b(f"order\0{file.distribution}\0{file.path}".encode(), digest_size=16).digest()
