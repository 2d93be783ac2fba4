"""Files that `datasets` reads for us, because we have no reader for their format: without a limit on memory, so only for
whoever may take this machine down.

It is given a packaged builder and the one address to open, never a repository, whose card it would trust.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from pipeline.core.errors import InputError
from pipeline.data.sources.hub_errors import hub_faults
from pipeline.data.sources.names import is_plain, shown
from pipeline.data.sources.shard import Piece

if TYPE_CHECKING:
    import polars as pl

TABLE_ROWS = 256
"""Rows of a table per batch."""
MOST_NAMES = 20
"""Names of columns that a message shows."""


@dataclass(frozen=True)
class TableShard:
    """A file of a format of `datasets`."""

    repo: str
    url: str
    """hf://datasets/owner/name@commit/place"""
    name: str
    num_bytes: int | None
    column: str | None
    """Of the text, if it was asked for."""
    builder: str
    """One of those in splits.BUILDERS."""
    num_files: int = 1
    local_files: tuple[str, ...] = ()

    def pieces(self) -> Iterator[Piece]:
        import datasets
        import polars as pl

        from pipeline.data.readers.frames import batch_of

        # Without these, reading a dataset imports torch, and tells another host about it.
        datasets.config.TORCH_AVAILABLE = False
        datasets.config.HF_UPDATE_DOWNLOAD_COUNTS = False
        first = 1
        with hub_faults(f"Dataset {self.repo!r}"):
            made = datasets.load_dataset_builder(self.builder, data_files={"train": [self.url]}, token=False)
            for table in made.as_streaming_dataset("train").with_format("arrow").iter(TABLE_ROWS):
                frame = pl.DataFrame(table)
                text = text_column_of(frame.schema, self.repo, self.column)
                yield Piece(partial(batch_of, frame, text, place=self.name, first=first))
                first += table.num_rows


def text_column_of(schema: Mapping[str, pl.DataType], repo: str, asked: str | None) -> str:
    """The column of `repo` that holds the text. Raises InputError when it is not clear which one does."""
    from pipeline.data.readers.frames import text_column

    if found := text_column(schema, asked):
        return found
    names = [name if is_plain(name) else shown(name) for name in list(schema)[:MOST_NAMES]]
    known = f"Dataset {repo!r} has the columns {', '.join(names)}"
    if asked:
        raise InputError(f"{known}, and no {asked!r}; choose one of them behind the #.")
    raise InputError(f"{known}; say which one holds the text, as in hub:{repo}#{next(iter(names), 'column')}.")
