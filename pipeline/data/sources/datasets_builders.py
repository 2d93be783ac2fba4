"""Reads files with `datasets` when this package has no reader for their format. Memory use is unbounded, so it is only
for people who are allowed to take this machine down.

`datasets` receives a packaged builder and one address, never a repository, because it would trust the card in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from pipeline.core.errors import InputError
from pipeline.data.sources.hub_errors import hub_faults
from pipeline.data.sources.names import is_plain, shown
from pipeline.data.sources.shard import Block

if TYPE_CHECKING:
    import polars as pl

TABLE_ROWS = 256
"""Rows per batch."""
MAX_NAMES = 20
"""Maximum number of column names in a message."""


@dataclass(frozen=True)
class TableShard:
    """A file in a format that only `datasets` reads."""

    repo: str
    url: str
    """hf://datasets/owner/name@commit/path"""
    name: str
    num_bytes: int | None
    column: str | None
    """The requested text column, if any."""
    builder: str
    """One of the values of splits.BUILDERS."""
    num_files: int = 1
    local_files: tuple[str, ...] = ()

    def blocks(self) -> Iterator[Block]:
        import datasets
        import polars as pl

        from pipeline.data.readers.frames import batch_of

        # By default, reading a dataset imports torch and reports the download to another host.
        datasets.config.TORCH_AVAILABLE = False
        datasets.config.HF_UPDATE_DOWNLOAD_COUNTS = False
        first = 1
        with hub_faults(f"Dataset {self.repo!r}"):
            made = datasets.load_dataset_builder(self.builder, data_files={"train": [self.url]}, token=False)
            for table in made.as_streaming_dataset("train").with_format("arrow").iter(TABLE_ROWS):
                frame = pl.DataFrame(table)
                text = text_column_of(frame.schema, self.repo, self.column)
                yield Block(partial(batch_of, frame, text, place=self.name, first=first))
                first += table.num_rows


def text_column_of(schema: Mapping[str, pl.DataType], repo: str, asked: str | None) -> str:
    """The column of `repo` that holds the text. Raises InputError when that is ambiguous or the column is missing."""
    from pipeline.data.readers.frames import text_column

    if found := text_column(schema, asked):
        return found
    names = [name if is_plain(name) else shown(name) for name in list(schema)[:MAX_NAMES]]
    columns = f"Dataset {repo!r} has the columns {', '.join(names)}"
    if asked:
        raise InputError(f"{columns}, and no {asked!r}; choose one of them behind the #.")
    raise InputError(f"{columns}; say which one holds the text, as in hub:{repo}#{next(iter(names), 'column')}.")
