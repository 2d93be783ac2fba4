"""Files of this machine: a file, a glob or a folder read to its depths. Python files, JSON lines, parquet; also packed.

A file that cannot be read costs that file, a bad line that line; both are counted with their place.
"""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from pipeline.data.sources import lines
from pipeline.data.sources.batch import DAMAGED, NO_TEXT, UNREADABLE, BadRow, Batch, BatchBuilder, Row, decoded
from pipeline.errors import InputError

ENDINGS = ".py, .json, .jsonl (also .gz or .zst) and .parquet"
PARQUET_ROWS = 256
"""Rows of a parquet file per batch."""


class FilesSource:
    """`path` is a file, a folder or a glob. Raises InputError when there is nothing there that can be read."""

    note = ""

    def __init__(self, path: str) -> None:
        self.spec = f"files:{path}"
        if not path:
            raise InputError("source is 'files:'; write a file, folder or glob after it, as in files:~/code.")
        self._path = os.path.expanduser(path)  # noqa: PTH111 - Path's own raises for an unknown ~user
        self._root = Path(self._path) if Path(self._path).is_dir() else None
        if not self._root:
            self._check()

    def batches(self) -> Iterator[Batch]:
        paths = self._paths()
        reader = _Reader(self._root, sum(map(_size, paths)))
        for path in paths:
            yield from reader.read(path)
        yield from reader.rest()

    def _check(self) -> None:
        matches = self._matches()
        if not matches:
            raise InputError(f"There is no file or folder {self._path!r}; check the path.")
        if len(matches) == 1 and matches[0].is_file() and not is_readable(matches[0].name):
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


def is_readable(name: str) -> bool:
    """Whether a file of this name can hold rows."""
    return name.lower().endswith((".py", ".parquet")) or lines.json_suffix(name) is not None


class _Reader:
    """Turns files into batches: small files together, a large one in many."""

    def __init__(self, root: Path | None, total_bytes: int) -> None:
        self._root = root
        self._root_name = root.resolve().name if root else ""
        self._total = total_bytes
        self._done = 0
        self._builder = BatchBuilder()

    def read(self, path: Path) -> Iterator[Batch]:
        if not is_readable(path.name):
            self._builder.skip()
            return
        place = _printable(str(path))
        try:
            if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for ever
                self._builder.add(BadRow(UNREADABLE, place))
            elif path.name.lower().endswith(".parquet"):
                yield from self._parquet(path, place)
            else:
                yield from self._rows(path, place)
        except OSError:
            self._builder.add(BadRow(UNREADABLE, place))

    def rest(self) -> Iterator[Batch]:
        if not self._builder.is_empty:
            yield self._builder.take(self._progress)

    def _rows(self, path: Path, place: str) -> Iterator[Batch]:
        for row in self._python(path, place) if path.name.lower().endswith(".py") else self._json(path, place):
            self._builder.add(row)
            if self._builder.is_full:
                yield self._builder.take(self._progress)

    def _python(self, path: Path, place: str) -> Iterator[Row | BadRow]:
        data = path.read_bytes()
        self._advance(len(data))
        content = decoded(data, place)
        if isinstance(content, BadRow):
            yield content
            return
        repo_name = self._root_name if self._root else path.parent.resolve().name
        name = path.relative_to(self._root).as_posix() if self._root else path.name
        yield (_printable(repo_name), _printable(name), "1", str(len(data)), content, "")

    def _json(self, path: Path, place: str) -> Iterator[Row | BadRow]:
        packing = lines.json_suffix(path.name) or ""
        may_be_document = not path.name.lower().removesuffix(packing).endswith(".jsonl")
        with path.open("rb") as stream:
            chunks = lines.unpacked(stream, packing, self._advance)
            yield from lines.rows(chunks, place, may_be_document=may_be_document)

    def _parquet(self, path: Path, place: str) -> Iterator[Batch]:
        import polars as pl

        from pipeline.data.sources.frames import batch_of, text_column

        yield from self.rest()  # in the order of the files
        size, first = path.stat().st_size, 1
        try:
            table = pl.scan_parquet(path, glob=False)
            text = text_column(table.collect_schema().names())
            if text is None:
                self._builder.add(BadRow(NO_TEXT, place))
                return
            for frame in table.collect_batches(chunk_size=PARQUET_ROWS, maintain_order=True):
                yield batch_of(frame, text, place=place, first=first, progress=self._progress)
                first += len(frame)
        except pl.exceptions.PolarsError:
            self._builder.add(BadRow(DAMAGED, f"{place}:{first}"))
        finally:
            self._advance(size)

    def _advance(self, num_bytes: int) -> None:
        self._done += num_bytes

    @property
    def _progress(self) -> float:
        return min(1.0, self._done / max(1, self._total))


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
