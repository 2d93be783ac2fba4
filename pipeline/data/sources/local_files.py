"""Files of this machine: a file, a glob or a folder read to its depths, of every format of formats.py.

A file that cannot be read costs that file, a bad line that line; both are counted with their place.
"""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from pipeline.core.errors import InputError
from pipeline.data.readers.formats import ENDINGS, PYTHON, TEXT, format_of, pieces
from pipeline.data.sources.base import (
    LONGEST_TEXT,
    TOO_LONG,
    UNREADABLE,
    BadRow,
    Batch,
    BatchBuilder,
    Row,
    batch_of_bad,
    decoded,
)
from pipeline.data.sources.shard import Piece, Source

SHARD_BYTES = 16 * 2**20
"""Small files go together up to this size; a larger one is a shard by itself."""
SHARD_FILES = 4_096
PIECE_BYTES = 4 * 2**20
PIECE_FILES = 256


class FilesSource(Source):
    """`path` is a file, a folder or a glob. Raises InputError when there is nothing there that can be read."""

    def __init__(self, path: str) -> None:
        self.spec = f"files:{path}"
        if not path:
            raise InputError("source is 'files:'; write a file, folder or glob after it, as in files:~/code.")
        self._path = os.path.expanduser(path)  # noqa: PTH111 - Path's own raises for an unknown ~user
        self._root = Path(self._path) if Path(self._path).is_dir() else None
        if not self._root:
            self._check()

    def shards(self) -> list[FilesShard]:
        found: list[FilesShard] = []
        together: list[Path] = []
        size = 0
        for path in self._paths():
            own = _size(path)
            if together and (size + own > SHARD_BYTES or len(together) >= SHARD_FILES):
                found.append(FilesShard(tuple(together), self._root, size))
                together, size = [], 0
            together.append(path)
            size += own
        return [*found, FilesShard(tuple(together), self._root, size)] if together else found

    def _check(self) -> None:
        matches = self._matches()
        if not matches:
            raise InputError(f"There is no file or folder {self._path!r}; check the path.")
        if len(matches) == 1 and matches[0].is_file() and format_of(matches[0].name) is None:
            raise InputError(f"{self._path!r} has an ending that cannot be read; use {ENDINGS}.")

    def _paths(self) -> list[Path]:
        """Every file, in the order of their names."""
        if self._root:
            return _below(self._root)
        return [file for match in self._matches() for file in (_below(match) if match.is_dir() else [match])]

    def _matches(self) -> list[Path]:
        if os.path.lexists(self._path):  # its name may hold a character that a glob would read as a pattern
            return [Path(self._path)]
        return [Path(match) for match in sorted(glob.glob(self._path, recursive=True))]  # noqa: PTH207 - may be absolute


@dataclass(frozen=True)
class FilesShard:
    """Files that follow each other; Python files go into common pieces, others have their own."""

    paths: tuple[Path, ...]
    root: Path | None
    """The folder that was asked for, which names the rows; None: each file's own folder does."""
    num_bytes: int

    @property
    def name(self) -> str:
        return _printable(str(self.paths[0]))

    @property
    def num_files(self) -> int:
        return len(self.paths)

    @property
    def local_files(self) -> list[str]:
        return [str(path) for path in self.paths]

    def pieces(self) -> Iterator[Piece]:
        small: list[Path] = []
        size = done = 0
        for path in self.paths:
            own = _size(path)
            if self._has_many_rows(path):
                if small:
                    yield self._together(small, done + size)
                yield from self._own_pieces(path, done + size, own)
                small, size, done = [], 0, done + size + own
                continue
            small.append(path)
            size += own
            if size >= PIECE_BYTES or len(small) >= PIECE_FILES:
                yield self._together(small, done + size)
                small, size, done = [], 0, done + size
        if small:
            yield self._together(small, done + size)

    def _has_many_rows(self, path: Path) -> bool:
        """Lines of a text are rows only where it was named: in a folder of code it is a README."""
        found = format_of(path.name)
        return found is not None and found.kind != PYTHON and not (self.root and found.kind == TEXT)

    def _share(self, num_bytes: float) -> float:
        return min(1.0, num_bytes / self.num_bytes) if self.num_bytes else 1.0

    def _together(self, paths: list[Path], done: int) -> Piece:
        paths = list(paths)
        return Piece(lambda: self._python_files(paths), self._share(done))

    def _python_files(self, paths: list[Path]) -> Batch:
        """Python files are the rows; files of other endings are counted."""
        builder = BatchBuilder()
        for path in paths:
            if path.name.lower().endswith(".py"):
                builder.add(self._python(path))
            else:
                builder.skip()
        return builder.batch()

    def _python(self, path: Path) -> Row | BadRow:
        place = _printable(str(path))
        try:
            if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for ever
                return BadRow(UNREADABLE, place)
            if path.stat().st_size > LONGEST_TEXT:
                return BadRow(TOO_LONG, place)
            data = path.read_bytes()
        except OSError:
            return BadRow(UNREADABLE, place)
        content = decoded(data, place)
        if isinstance(content, BadRow):
            return content
        repo_name = self._root_name if self.root else path.parent.resolve().name
        name = path.relative_to(self.root).as_posix() if self.root else path.name
        return (_printable(repo_name), _printable(name), "1", str(len(data)), content, "")

    @cached_property
    def _root_name(self) -> str:
        return self.root.resolve().name if self.root else ""

    def _own_pieces(self, path: Path, before: int, size: int) -> Iterator[Piece]:
        """The pieces of a file of many rows, `before` bytes into the shard."""
        place = _printable(str(path))
        try:
            if not stat.S_ISREG(path.stat().st_mode):
                yield Piece(_bad(UNREADABLE, place), self._share(before))
                return
            for piece in _many_rows(path, place, size):
                yield Piece(piece.read, self._share(before + size * (piece.share or 0)))
        except OSError:
            yield Piece(_bad(UNREADABLE, place), self._share(before))


def _many_rows(path: Path, place: str, size: int) -> Iterator[Piece]:
    from pipeline.data.readers.frames import text_column

    found = format_of(path.name)
    assert found is not None
    with path.open("rb") as stream:
        yield from pieces(stream, found, place, size, text_column)


def _bad(reason: str, where: str) -> Callable[[], Batch]:
    return partial(batch_of_bad, BadRow(reason, where))


def _below(folder: Path) -> list[Path]:
    found = []
    for parent, folders, names in os.walk(folder):
        folders.sort()
        found += [Path(parent, name) for name in sorted(names)]
    return found


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _printable(name: str) -> str:
    """A file's name may hold bytes that are not UTF-8; a table may not."""
    return name.encode("utf-8", "replace").decode()
