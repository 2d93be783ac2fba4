"""Reads the Python source of the packages installed here: real code with package names and licences, without a network.

Files are ordered by a hash of their names. The order is the same on every scan of the same environment, and the first
thousand files are a fair sample of all, so that rates settle early.
"""

from __future__ import annotations

import csv
import hashlib
import importlib.metadata
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import Distribution
from itertools import chain, takewhile
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
from pipeline.data.sources.shard import Block, Source, never

SHARD_FILES = 2_048
BLOCK_FILES = 256
BROKEN_PACKAGE = "package without readable metadata"


@dataclass(frozen=True)
class InstalledFile:
    """One .py file of one distribution."""

    distribution: str
    path: str
    """As the distribution lists it, with forward slashes."""
    license: str
    place: str
    """Its path on this machine."""


class InstalledSource(Source):
    """Every .py file of `distributions`, once each; by default those of this environment."""

    spec = "installed"
    note = (
        "These are the packages installed here, not the course's 20 million files from GitHub: with the course's "
        "keywords, most of what is kept is pandas itself, as the list of repositories shows."
    )

    def __init__(self, distributions: Iterable[Distribution] | None = None) -> None:
        self._distributions = distributions

    def shards(self, is_over: Callable[[], bool] = never) -> list[InstalledShard]:
        found = importlib.metadata.distributions() if self._distributions is None else self._distributions
        files, bad = installed_files(takewhile(lambda _: not is_over(), found))
        starts = range(0, max(1, len(files)), SHARD_FILES)
        return [
            InstalledShard(number, tuple(files[start : start + SHARD_FILES]), () if number else tuple(bad))
            for number, start in enumerate(starts)
        ]


@dataclass(frozen=True)
class InstalledShard:
    """Up to SHARD_FILES files."""

    number: int
    files: tuple[InstalledFile, ...]
    bad: tuple[BadRow, ...]
    """Packages that could not be read; only the first shard reports them."""
    num_bytes: None = None
    """Not computed, as that would stat every file. All shards but the last have the same number of files."""

    @property
    def name(self) -> str:
        return f"installed files {self.number}"

    @property
    def num_files(self) -> int:
        return len(self.files)

    @property
    def local_files(self) -> list[str]:
        return [file.place for file in self.files]

    def blocks(self) -> Iterator[Block]:
        for start in range(0, max(1, len(self.files)), BLOCK_FILES):
            files = self.files[start : start + BLOCK_FILES]
            share = (start + len(files)) / max(1, len(self.files))
            yield Block(partial(_read, files, () if start else self.bad), share)


def _read(files: Iterable[InstalledFile], bad: Iterable[BadRow]) -> Batch:
    builder = BatchBuilder()
    for row in chain(bad, map(_row, files)):
        builder.add(row)
    return builder.batch()


def installed_files(distributions: Iterable[Distribution]) -> tuple[list[InstalledFile], list[BadRow]]:
    """The .py files of `distributions` in hash order, each once, and the distributions that could not be read."""
    found: dict[str, InstalledFile] = {}
    bad = []
    for distribution in distributions:
        try:
            for file in _python_files(distribution):
                found.setdefault(file.place, file)
        # Metadata that other tools left behind can be broken in any of these ways; the next distribution may be fine.
        except (OSError, ValueError, KeyError, TypeError, AttributeError, csv.Error):
            bad.append(BadRow(BROKEN_PACKAGE, str(getattr(distribution, "_path", distribution))))
    return sorted(found.values(), key=_name_hash), bad


def _python_files(distribution: Distribution) -> Iterator[InstalledFile]:
    metadata = distribution.metadata
    name = metadata["Name"]
    if not name:
        raise ValueError("a package without a name")
    license_name = license_of(metadata)
    root = os.path.realpath(str(distribution.locate_file("")))
    for path in distribution.files or ():  # None without a list of files, as in some editable installs
        if path.suffix == ".py":
            listed = path.as_posix()
            # Not realpath for each file: it would stat every parent folder of every file.
            yield InstalledFile(name, listed, license_name, os.path.normpath(f"{root}/{listed}"))


def _row(file: InstalledFile) -> Row | BadRow:
    try:
        with open(file.place, "rb") as opened:  # noqa: PTH123 - creating a Path per small file costs more than reading
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
    """The licence that a distribution's metadata names, in one short line; empty when it names none."""
    text = (metadata.get("License-Expression") or metadata.get("License") or "").strip()
    if text and "\n" not in text and len(text) <= 100:
        return text
    classifiers = metadata.get_all("Classifier") or []
    names = [line.rpartition("::")[2].strip() for line in classifiers if line.startswith("License ::")]
    return " AND ".join(names) or text.partition("\n")[0].strip()[:100]


def _name_hash(file: InstalledFile) -> bytes:
    return hashlib.blake2b(f"order\0{file.distribution}\0{file.path}".encode(), digest_size=16).digest()
