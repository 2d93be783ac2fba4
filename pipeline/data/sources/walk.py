"""Lists local files: those below a folder, or those that a glob matches. Each file is listed once, also with links.

Links are followed after everything else, so that a file has its own name where it can be reached by it. A folder is
known again by its device and inode, so links that form a circle end. What cannot be listed is reported as a bad row.
"""

from __future__ import annotations

import fnmatch
import os
import re
import stat
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.data.sources.base import BadRow

GLOB = re.compile(r"[*?\[]")
FOLDER_UNREADABLE = "folder cannot be opened"
LINK_ABOVE = "link to a folder above"
CHECK_EVERY = 256
"""Entries of a folder between two calls of `is_over`."""

Identity = tuple[int, int]
"""Device and inode of a file or folder."""


@dataclass(frozen=True, slots=True)
class LocalFile:
    """Anything that is not a folder, also a pipe or a link to nothing."""

    path: Path
    num_bytes: int
    """Its size; 0 if it is not a regular file."""
    is_named: bool
    """Whether it was requested by its name or extension, not as anything in a folder."""


@dataclass(frozen=True)
class Pattern:
    """A path, which may contain `*`, `?` and `[...]` within a name, and `**` for any number of folders."""

    root: Path
    """The folder below which the pattern starts, or the file or folder itself when `parts` is empty."""
    parts: tuple[str, ...]
    matches_folders_only: bool
    """Whether it ends with a slash."""

    @classmethod
    def of(cls, path: str) -> Pattern:
        """A path that exists is no pattern, whatever characters its name has."""
        if os.path.lexists(path) or not GLOB.search(path):
            return cls(Path(path), (), matches_folders_only=False)
        parts = Path(path).parts
        first = next(number for number, part in enumerate(parts) if GLOB.search(part))
        return cls(Path(*parts[:first]), parts[first:], matches_folders_only=path.endswith("/"))

    @property
    def names_an_extension(self) -> bool:
        return "." in self.parts[-1]

    @property
    def start(self) -> frozenset[int]:
        return self._closed({0})

    def after(self, state: frozenset[int], name: str) -> frozenset[int]:
        """The state of an entry `name` of a folder in `state`. A state is the set of the numbers of parts that the path
        so far can match; it is empty when nothing below can match any more. Below a match everything matches.
        """
        if self.is_match(state):
            return state
        is_hidden = name.startswith(".")
        found = set()
        for number in state:
            part = self.parts[number]
            if part == "**":
                if not is_hidden:
                    found.add(number)
            elif (not is_hidden or part.startswith(".")) and fnmatch.fnmatchcase(name, part):
                found.add(number + 1)
        return self._closed(found)

    def is_match(self, state: frozenset[int]) -> bool:
        return len(self.parts) in state

    def _closed(self, numbers: set[int]) -> frozenset[int]:
        """Adds what is reached without a name, as `**` may stand for no folder."""
        closed = set(numbers)
        for number, part in enumerate(self.parts):
            if number in closed and part == "**":
                closed.add(number + 1)
        return frozenset(closed)


def walk(pattern: Pattern, is_over: Callable[[], bool] = lambda: False) -> Iterator[LocalFile | BadRow]:
    """The files that `pattern` matches and those below the folders that it matches, ordered by path, followed by those
    that are only reached through links. Ends early when `is_over`. Nothing when the path does not exist.
    """
    try:
        found = pattern.root.stat()
    except (OSError, ValueError):  # ValueError for a zero byte
        if os.path.lexists(pattern.root):
            yield LocalFile(pattern.root, 0, is_named=True)
        return
    if not stat.S_ISDIR(found.st_mode):
        if not pattern.parts:
            yield LocalFile(pattern.root, _size(found), is_named=True)
        return
    yield from _Walk(pattern, is_over).files(found)


@dataclass(frozen=True, slots=True)
class _Link:
    """A link whose target exists, to be followed later."""

    path: Path
    target: os.stat_result
    state: frozenset[int]
    is_named: bool
    above: frozenset[Identity]
    """The folders above the one that it was found below."""


class _Walk:
    """One walk: what was visited, and the links still to be followed."""

    def __init__(self, pattern: Pattern, is_over: Callable[[], bool]) -> None:
        self._pattern = pattern
        self._is_over = is_over
        self._folders: set[tuple[Identity, frozenset[int]]] = set()
        """With their states: a folder is visited again if other names in it can match."""
        self._files: set[Identity] = set()
        self._links: deque[_Link] = deque()

    def files(self, root: os.stat_result) -> Iterator[LocalFile | BadRow]:
        pattern = self._pattern
        yield from self._below(pattern.root, root, pattern.start, _above(pattern.root))
        while self._links and not self._is_over():
            link = self._links.popleft()
            if not stat.S_ISDIR(link.target.st_mode):
                yield from self._once(link.path, link.target, is_named=link.is_named)
            elif _identity(link.target) in link.above:
                yield BadRow(LINK_ABOVE, printable(link.path))
            else:
                yield from self._below(link.path, link.target, link.state, link.above | _above(link.path))

    def _below(
        self, top: Path, found: os.stat_result, state: frozenset[int], above: frozenset[Identity]
    ) -> Iterator[LocalFile | BadRow]:
        """The files of a folder and its subfolders, without those behind links."""
        waiting = [(top, found, state)]
        while waiting and not self._is_over():
            folder, found, state = waiting.pop()
            if (visit := (_identity(found), state)) in self._folders:
                continue
            self._folders.add(visit)
            is_below_match = self._pattern.is_match(state)
            is_named = not is_below_match and self._pattern.names_an_extension
            folders = []
            try:
                entries = self._entries(folder)
            except OSError:
                yield BadRow(FOLDER_UNREADABLE, printable(folder))
                continue
            for number, entry in enumerate(entries):
                if number % CHECK_EVERY == 0 and self._is_over():
                    return
                path, own = folder / entry.name, self._pattern.after(state, entry.name)
                is_match = self._pattern.is_match(own) and (is_below_match or not self._pattern.matches_folders_only)
                try:
                    target = entry.stat()
                except OSError:
                    if is_match:
                        yield LocalFile(path, 0, is_named)
                    continue
                is_folder = stat.S_ISDIR(target.st_mode)
                if not (own if is_folder else is_match):
                    continue
                if entry.is_symlink():
                    self._links.append(_Link(path, target, own, is_named, above))
                elif is_folder:
                    folders.append((path, target, own))
                else:
                    yield from self._once(path, target, is_named=is_named)
            waiting += reversed(folders)

    def _entries(self, folder: Path) -> list[os.DirEntry[str]]:
        """Ordered by name; only those read so far when the walk is over."""
        found = []
        with os.scandir(folder) as entries:
            for entry in entries:
                found.append(entry)
                if len(found) % CHECK_EVERY == 0 and self._is_over():
                    break
        return sorted(found, key=lambda entry: entry.name)

    def _once(self, path: Path, found: os.stat_result, *, is_named: bool) -> Iterator[LocalFile]:
        if stat.S_ISREG(found.st_mode):
            if _identity(found) in self._files:
                return
            self._files.add(_identity(found))
        yield LocalFile(path, _size(found), is_named)


def _identity(found: os.stat_result) -> Identity:
    return found.st_dev, found.st_ino


def _above(folder: Path) -> frozenset[Identity]:
    """The folders that contain `folder`, whose name may be a link."""
    return frozenset(_identity(parent.stat()) for parent in Path(os.path.realpath(folder)).parents)


def _size(found: os.stat_result) -> int:
    return found.st_size if stat.S_ISREG(found.st_mode) else 0


def printable(path: object) -> str:
    """Replaces bytes that are not UTF-8: a file name may contain them, a table may not."""
    return str(path).encode("utf-8", "replace").decode()
