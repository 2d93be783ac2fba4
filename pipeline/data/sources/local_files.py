"""Reads local files: a file, a glob or a folder with all its subfolders, in every format of formats.py.

An unreadable file loses only that file and a bad line only that line; both are counted with their location.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from pipeline.core.errors import FieldError, InputError
from pipeline.data.readers.formats import ENDINGS, PYTHON, TEXT, blocks, format_of
from pipeline.data.sources.base import (
    LONGEST_TEXT,
    TOO_LONG,
    UNREADABLE,
    BadRow,
    Batch,
    BatchBuilder,
    Row,
    batch_of_bad,
    batch_of_rows,
    decoded,
)
from pipeline.data.sources.shard import Block, Source, never
from pipeline.data.sources.walk import LocalFile, Pattern, printable, walk

SHARD_BYTES = 16 * 2**20
"""Maximum total size of files grouped into one shard; a larger file is a shard by itself."""
SHARD_FILES = 4_096
BLOCK_BYTES = 4 * 2**20
BLOCK_FILES = 256
CHECK_SECONDS = 3.0
"""How long a glob is searched for its first file before it is accepted."""


class FilesSource(Source):
    """`path` is a file, a folder or a glob, followed by `#column` when the text is in a column with an unusual name. Raises InputError when nothing there can be read."""

    def __init__(self, path: str) -> None:
        self.spec = f"files:{path}"
        if not path:
            raise FieldError("source", self.spec, "write a file, folder or glob after it, as in files:~/code")
        path, self._column = _split_column(path)
        self._path = os.path.expanduser(path)  # noqa: PTH111 - Path.expanduser raises for an unknown ~user
        _check_names(self.spec, self._path)
        self._pattern = Pattern.of(self._path)
        self._check()

    def shards(self, is_over: Callable[[], bool] = never) -> list[FilesShard]:
        found: list[FilesShard] = []
        group: list[LocalFile] = []
        bad: list[BadRow] = []
        size = 0
        for file in walk(self._pattern, is_over):
            if isinstance(file, BadRow):
                bad.append(file)
                continue
            if group and (size + file.num_bytes > SHARD_BYTES or len(group) >= SHARD_FILES):
                found.append(self._shard(group, size))
                group, size = [], 0
            group.append(file)
            size += file.num_bytes
        if group or bad:
            found.append(self._shard(group, size, bad))
        return found

    def _shard(self, files: list[LocalFile], size: int, bad: Iterable[BadRow] = ()) -> FilesShard:
        root = self._pattern.root
        return FilesShard(tuple(files), root if root.is_dir() else root.parent, size, tuple(bad), self._column)

    def _check(self) -> None:
        """Raises InputError when nothing matches; a glob is believed when the search takes too long."""
        ends_at = time.monotonic() + CHECK_SECONDS
        root, is_glob = self._pattern.root, bool(self._pattern.parts)
        if not is_glob and root.is_dir():
            return
        first = next(walk(self._pattern, lambda: time.monotonic() > ends_at), None)
        if first is None and time.monotonic() <= ends_at:
            raise InputError(f"There is no file or folder {self._path!r}; check the path.")
        if not is_glob and format_of(root.name) is None:
            raise InputError(f"{self._path!r} has an ending that cannot be read; use {ENDINGS}.")


@dataclass(frozen=True)
class FilesShard:
    """Consecutive files. Python files share blocks; other files have blocks of their own."""

    files: tuple[LocalFile, ...]
    root: Path
    """The folder whose name becomes `repo_name`; `path` is relative to it."""
    num_bytes: int
    bad: tuple[BadRow, ...]
    """What could not be listed; only the last shard reports it."""
    column: str | None = None
    """The requested text column, if any."""

    @property
    def name(self) -> str:
        return printable(self.files[0].path if self.files else self.root)

    @property
    def num_files(self) -> int:
        return len(self.files)

    @property
    def local_files(self) -> list[str]:
        return [str(file.path) for file in self.files]

    def blocks(self) -> Iterator[Block]:
        small: list[Path] = []
        size = done = 0
        for file in self.files:
            if self._has_many_rows(file):
                if small:
                    yield self._small_files(small, done + size)
                yield from self._file_blocks(file, done + size)
                small, size, done = [], 0, done + size + file.num_bytes
                continue
            small.append(file.path)
            size += file.num_bytes
            if size >= BLOCK_BYTES or len(small) >= BLOCK_FILES:
                yield self._small_files(small, done + size)
                small, size, done = [], 0, done + size
        if small:
            yield self._small_files(small, done + size)
        if self.bad:
            yield Block(partial(batch_of_rows, self.bad), 1.0)

    def _has_many_rows(self, file: LocalFile) -> bool:
        """Whether a file holds many rows. A text file does only if it was named itself: in a folder it is a README."""
        found = format_of(file.path.name)
        return found is not None and found.kind != PYTHON and (file.is_named or found.kind != TEXT)

    def _share(self, num_bytes: float) -> float:
        return min(1.0, num_bytes / self.num_bytes) if self.num_bytes else 1.0

    def _small_files(self, paths: list[Path], done: int) -> Block:
        paths = list(paths)
        return Block(lambda: self._python_files(paths), self._share(done))

    def _python_files(self, paths: list[Path]) -> Batch:
        """A batch with one row per Python file; files with other extensions are counted as skipped."""
        builder = BatchBuilder()
        for path in paths:
            if path.name.lower().endswith(".py"):
                builder.add(self._python(path))
            else:
                builder.skip()
        return builder.batch()

    def _python(self, path: Path) -> Row | BadRow:
        place = printable(path)
        try:
            if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would block forever
                return BadRow(UNREADABLE, place)
            if path.stat().st_size > LONGEST_TEXT:
                return BadRow(TOO_LONG, place)
            data = path.read_bytes()
        except OSError:
            return BadRow(UNREADABLE, place)
        content = decoded(data, place)
        if isinstance(content, BadRow):
            return content
        name = printable(path.relative_to(self.root).as_posix())
        return (self._root_name, name, "1", str(len(data)), content, "")

    @cached_property
    def _root_name(self) -> str:
        return printable(self.root.resolve().name)

    def _file_blocks(self, file: LocalFile, before: int) -> Iterator[Block]:
        """The blocks of a file of many rows that starts `before` bytes into the shard."""
        path, place, size = file.path, printable(file.path), file.num_bytes
        try:
            if not stat.S_ISREG(path.stat().st_mode):
                yield Block(_bad(UNREADABLE, place), self._share(before))
                return
            for block in _many_rows(path, place, size, self.column):
                yield Block(block.read, self._share(before + size * (block.share or 0)))
        except OSError:
            yield Block(_bad(UNREADABLE, place), self._share(before))


def _many_rows(path: Path, place: str, size: int, column: str | None) -> Iterator[Block]:
    from pipeline.data.readers.frames import text_column

    found = format_of(path.name)
    assert found is not None
    with path.open("rb") as stream:
        yield from blocks(stream, found, place, size, partial(text_column, asked=column))


def _check_names(spec: str, path: str) -> None:
    """Raises FieldError for a path that no file can have: the system refuses even to look for it."""
    try:
        os.lstat(path)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise FieldError(
                "source", f"{spec[:80]}...", "shorten the path: a name has at most 255 bytes, a path 4,095"
            ) from error
    except ValueError:  # a zero byte, which `walk` finds
        return


def _split_column(path: str) -> tuple[str, str | None]:
    """`PATH#column` as its two parts. A name that exists is whole, and a column has no slash."""
    head, mark, column = path.rpartition("#")
    if not (mark and head and column) or "/" in column or os.path.lexists(os.path.expanduser(path)):  # noqa: PTH111
        return path, None
    return head, column


def _bad(reason: str, where: str) -> Callable[[], Batch]:
    return partial(batch_of_bad, BadRow(reason, where))
