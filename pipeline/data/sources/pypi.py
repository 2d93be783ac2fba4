"""Source distributions of the package index: `pypi`, `pypi:NAME,NAME==VERSION`, each with `#examples` or `#all` behind it.

Without names it reads the examples of the data-science projects below: the files in folders of examples, short programs
that use the libraries as people do, and of the other files the examples in their docstrings. With names it reads all
Python files of those projects. `.ipynb` notebooks are not read. An archive is read, never
built or run; what cannot be read is a bad row that names it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from itertools import takewhile
from typing import BinaryIO

from packaging.version import InvalidVersion, Version

from pipeline.core.environment import home_folder
from pipeline.core.errors import InputError
from pipeline.core.paths import Home
from pipeline.data.readers.decompress import StreamError
from pipeline.data.readers.docstrings import examples_in
from pipeline.data.sources.base import (
    TOO_LONG,
    BadRow,
    Batch,
    BatchBuilder,
    Row,
    decoded,
)
from pipeline.data.sources.index_page import Release, Requirement, canonical
from pipeline.data.sources.index_settings import IndexSettings, index_settings
from pipeline.data.sources.names import UNSAFE_NAME, is_inside, shown
from pipeline.data.sources.package_index import NOT_LISTED, UnusableArchive, check_usable, client_of
from pipeline.data.sources.sdist import METADATA, Archive, ArchiveEntry, license_in
from pipeline.data.sources.sdist_store import SdistStore
from pipeline.data.sources.shard import Block, LeftOut, Source, never

PROJECTS = (
    "autograd deslib eli5 hmmlearn imbalanced-learn lmfit mapie matplotlib metpy mpld3 pandas pandas-datareader proplot "
    "scikit-image scikit-learn scikit-learn-extra scikit-survival seaborn sklearn-crfsuite skope-rules skrub statsmodels "
    "tsfresh tslearn xarray yellowbrick"
).split()
"""Projects around the course's libraries whose source distributions contain examples; pandas' own are notebooks."""
EXAMPLE_FOLDERS = frozenset("doc docs example examples galleries gallery tutorial tutorials".split())
TEST_FOLDERS = frozenset(("test", "tests", "testing"))
TEST_FILE = re.compile(r"test_.*\.py|.*_test\.py|conftest\.py")
MAX_PROJECTS = 100
LOOKUPS = 8
"""Concurrent requests for pages of the index."""
POLL_SECONDS = 0.1
BLOCK_BYTES = 4 * 2**20
BLOCK_FILES = 256
MAX_WAITING = 8
"""Maximum number of blocks that wait for the licence."""
LINK = "link or device in an archive"
FORM = (
    "write the names of projects with commas between them, as in pypi:seaborn,statsmodels==0.14.5, "
    "and #examples behind them for their examples alone"
)


@dataclass(frozen=True)
class IndexAccess:
    """The index to read, and where its archives are kept."""

    settings: IndexSettings
    store: SdistStore

    @classmethod
    def of_this_process(cls) -> IndexAccess:
        """pip's settings, and the home folder. Raises InputError for settings that cannot be read."""
        return cls(index_settings(), SdistStore(Home(home_folder().absolute()).sdists))


class PypiSource(Source):
    """Raises InputError for names that are none. Sends no request before `shards` is called.

    `access`: by default that of this process.
    """

    def __init__(self, spec: str, access: IndexAccess | None = None) -> None:
        self.spec = spec
        self._wanted, self._only_examples = parsed(spec)
        self._is_own_list = is_own_list(spec)
        self._access = access or IndexAccess.of_this_process()
        count = len(self._wanted)
        self.note = (
            f"These are {'the examples in ' if self._only_examples else ''}source distributions of {count} "
            f"{'project' if count == 1 else 'projects'}, not the course's 20 million files from GitHub."
        )

    def shards(self, is_over: Callable[[], bool] = never) -> list[SdistShard | LeftOut]:
        check_usable(self._access.settings)
        found = self._lookup(is_over)
        left_out = []
        shards: list[SdistShard | LeftOut] = []
        for wanted, release in zip(self._wanted, found, strict=False):
            if isinstance(release, Release):
                shards.append(SdistShard(release, self._only_examples, release.num_bytes, self._access))
            elif release is None and not self._is_own_list:
                raise InputError(f"The package index has no project {wanted.project!r}; check the name.")
            else:
                left_out.append(release or BadRow(NOT_LISTED, str(wanted)))
        return [LeftOut("projects left out", tuple(left_out)), *shards] if left_out else shards

    def _lookup(self, is_over: Callable[[], bool]) -> list[Release | BadRow | None]:
        """What the index has of each project, in order; once `is_over`, of those that are known."""
        client = client_of(self._access.settings)
        pool = ThreadPoolExecutor(LOOKUPS, thread_name_prefix="index")
        try:
            futures = [pool.submit(client.find, wanted) for wanted in self._wanted]
            while wait(futures, POLL_SECONDS, FIRST_EXCEPTION).not_done:
                if is_over() or any(future.done() and future.exception() for future in futures):
                    break
            for future in futures:
                if future.done() and (error := future.exception()):
                    raise error
            return [future.result() for future in takewhile(Future.done, futures)]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


@dataclass(frozen=True)
class SdistShard:
    """One source distribution."""

    release: Release
    only_examples: bool
    num_bytes: int | None
    access: IndexAccess = field(repr=False)
    """Not part of the shard's identity; it contains logins."""
    num_files: int = 1
    local_files: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return str(self.release)

    def blocks(self) -> Iterator[Block]:
        try:
            with self._opened() as file:
                yield from self._blocks(Archive(file))
        except UnusableArchive as fault:
            yield self._builder([BadRow(str(fault), self.name)]).block("", 1.0)

    def _blocks(self, archive: Archive) -> Iterator[Block]:
        """Each row has the licence, which may stand at the archive's end: the first blocks wait for it."""
        license_name: str | None = None
        waiting, built = [], self._builder()
        try:
            for entry in archive.entries(self._wants):
                if entry.path == METADATA:
                    license_name = license_in(entry)
                elif entry.kind != "folder" and self._is_part(entry.path):
                    built.add(entry)
                if built.is_full:
                    waiting.append(built)
                    built = self._builder()
                if license_name is None and len(waiting) >= MAX_WAITING:
                    license_name = self._license()
                if license_name is not None:
                    yield from (block.block(license_name, archive.share()) for block in waiting)
                    waiting.clear()
        except StreamError as fault:
            built.items.append(BadRow(str(fault), self.name))
        yield from (block.block(license_name or "", 1.0) for block in [*waiting, built])

    def _builder(self, items: Sequence[BadRow] = ()) -> _BlockBuilder:
        return _BlockBuilder(self.release, self.only_examples, list(items))

    def _license(self) -> str:
        """The licence, read ahead of the files."""
        with self._opened() as file:
            for entry in Archive(file).entries(lambda path: path == METADATA):
                if entry.path == METADATA:
                    return license_in(entry)
        return ""

    def _opened(self) -> AbstractContextManager[BinaryIO]:
        return self.access.store.opened(self.release, client_of(self.access.settings))

    def _is_part(self, path: str) -> bool:
        return not self.only_examples or is_example(path) or (is_python(path) and not is_test(path))

    def _wants(self, path: str) -> bool:
        return path == METADATA or (is_python(path) and self._is_part(path))


@dataclass
class _BlockBuilder:
    """Collects the entries of one block."""

    release: Release
    only_examples: bool
    items: list[tuple[str, bytes] | BadRow] = field(default_factory=list)
    num_bytes: int = 0
    num_skipped: int = 0

    @property
    def is_full(self) -> bool:
        return self.num_bytes >= BLOCK_BYTES or len(self.items) >= BLOCK_FILES

    def add(self, entry: ArchiveEntry) -> None:
        place = f"{self.release}/{entry.path}"
        if entry.kind == "other":
            self.items.append(BadRow(LINK, shown(place)))
        elif not is_python(entry.path):
            self.num_skipped += 1
        elif not is_inside(entry.path):
            self.items.append(BadRow(UNSAFE_NAME, shown(place)))
        elif self.only_examples and not is_example(entry.path) and entry.data is not None and b">>>" not in entry.data:
            pass  # a file of the library without examples
        elif entry.data is None:
            self.items.append(BadRow(TOO_LONG, place))
        else:
            self.items.append((entry.path, entry.data))
            self.num_bytes += len(entry.data)

    def block(self, license_name: str, share: float) -> Block:
        return Block(
            partial(_read, self.release, self.only_examples, license_name, self.items, self.num_skipped), share
        )


def _read(
    release: Release,
    only_examples: bool,
    license_name: str,
    items: list[tuple[str, bytes] | BadRow],
    num_skipped: int,
) -> Batch:
    builder = BatchBuilder()
    for item in items:
        row = item if isinstance(item, BadRow) else _row(release, only_examples, license_name, *item)
        if row is not None:
            builder.add(row)
    for _ in range(num_skipped):
        builder.skip()
    return builder.batch()


def _row(release: Release, only_examples: bool, license_name: str, path: str, data: bytes) -> Row | BadRow | None:
    """None for a file without examples, where only these are read."""
    place = f"{release}/{path}"
    content, size = decoded(data, place), len(data)
    if isinstance(content, BadRow):
        return content
    if only_examples and not is_example(path):
        examples = examples_in(content)
        if not examples:
            return None
        content = f"# The examples in the docstrings of {path}\n\n{examples}"
        size = len(content.encode())
    return (release.project, place, "1", str(size), content, license_name)


def parsed(spec: str) -> tuple[tuple[Requirement, ...], bool]:
    """The projects that `spec` names, and whether only their examples are read. Raises InputError when it is invalid."""
    head, mark, part = spec.partition("#")
    _, colon, names = head.partition(":")
    if mark and part not in ("examples", "all"):
        raise InputError(f"source is {spec!r}; {FORM}.")
    if not colon:
        return tuple(map(Requirement, PROJECTS)), part != "all"
    wanted = tuple(dict.fromkeys(_requirement(name.strip(), spec) for name in names.split(",")))
    if len(wanted) > MAX_PROJECTS:
        raise InputError(f"source names {len(wanted)} projects; name at most {MAX_PROJECTS}.")
    return wanted, part == "examples"


def is_own_list(spec: str) -> bool:
    """Whether `spec` names no projects, so that those of PROJECTS are read."""
    return spec.partition("#")[0] == "pypi"


def is_example(path: str) -> bool:
    """Whether a file in a source distribution lies in a folder of examples or documentation and is no test."""
    return not EXAMPLE_FOLDERS.isdisjoint(path.lower().split("/")[:-1]) and not is_test(path)


def is_test(path: str) -> bool:
    *folders, name = path.lower().split("/")
    return TEST_FILE.fullmatch(name) is not None or not TEST_FOLDERS.isdisjoint(folders)


def is_python(path: str) -> bool:
    return path.lower().endswith(".py")


def _requirement(text: str, spec: str) -> Requirement:
    name, equals, version = (part.strip() for part in text.partition("=="))
    try:
        return Requirement(canonical(name), str(Version(version)) if equals else None)
    except (ValueError, InvalidVersion):
        raise InputError(f"source is {shown(spec)} and {shown(text)} is no project; {FORM}.") from None
