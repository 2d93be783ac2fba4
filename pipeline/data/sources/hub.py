"""A dataset on the Hugging Face Hub, streamed: `REPO`, `REPO@revision`, `REPO:split`, `REPO@revision:split`; any of them
with `#column` behind it, when the text is in a column of another name than the usual ones.

`datasets` says which files a split has. JSON lines and parquet are read by our own readers, because one bad line would cost
`datasets` the whole file, a cut-off .gz all of its rows, and a text of any length is more than memory may hold; everything
else comes from it as tables.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, BinaryIO

from pipeline.data.remote import ANSWER_SECONDS, REPO, hub_faults
from pipeline.data.sources import lines
from pipeline.data.sources.batch import TEXT_COLUMNS
from pipeline.data.sources.shard import Piece, Source
from pipeline.errors import InputError

if TYPE_CHECKING:
    import polars as pl
    from datasets import DatasetBuilder

SPEC = re.compile(rf"(?P<repo>{REPO.pattern})(?:@(?P<revision>[^\s:@]+))?(?::(?P<split>[\w.-]+))?(?:#(?P<column>\S+))?")
TABLE_ROWS = 256
"""Rows of a table per batch."""


class HubSource(Source):
    """The split `train`, unless another is named or it is the only one. Contacts nobody until it is read."""

    def __init__(self, name: str) -> None:
        match = SPEC.fullmatch(name)
        if not match:
            raise InputError(
                f"source is 'hub:{name}'; write it as hub:owner/name, hub:owner/name@revision:split#column."
            )
        self.spec = f"hub:{name}"
        self._repo, self._revision, self._split = match["repo"], match["revision"], match["split"]
        self._column = match["column"]

    def shards(self) -> list[FileShard | TableShard]:
        with hub_faults(f"Dataset {self._repo!r}"):
            commit, sizes = _commit(self._repo, self._revision)
            builder = _builder(self._repo, commit)
            files = builder.config.data_files or {}
            split = self._split or ("train" if "train" in files or len(files) != 1 else str(next(iter(files))))
            if split not in files:
                known = ", ".join(map(str, files)) or "none"
                raise InputError(f"Dataset {self._repo!r} has no split {split!r}; it has {known}.")
            urls = [str(url) for url in files[split]]
            if all(lines.json_suffix(url) is not None or _is_parquet(url) for url in urls):
                return [FileShard(self._repo, url, sizes.get(_place(url)), self._column) for url in urls]
            num_shards = builder.as_streaming_dataset(split).num_shards
            return [
                TableShard(self._repo, commit, split, number, num_shards, self._column) for number in range(num_shards)
            ]


@dataclass(frozen=True)
class FileShard:
    """A file of JSON lines or parquet."""

    repo: str
    url: str
    """hf://datasets/owner/name@commit/place"""
    num_bytes: int | None
    column: str | None
    """Of the text, if it was asked for."""
    num_files: int = 1
    local_files: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return _place(self.url)

    def pieces(self) -> Iterator[Piece]:
        with hub_faults(f"Dataset {self.repo!r}"):
            from datasets import DownloadConfig
            from datasets.utils.file_utils import xopen

            # xopen reads piece by piece and comes back after a lost connection.
            with xopen(self.url, "rb", download_config=DownloadConfig(token=False)) as stream:
                yield from self._table(stream) if _is_parquet(self.url) else self._lines(stream)

    def _lines(self, stream: BinaryIO) -> Iterator[Piece]:
        names = (self.column,) if self.column else TEXT_COLUMNS
        num_bytes = self.num_bytes or stream.size  # type: ignore[attr-defined]
        return lines.pieces(stream, self.url, self.name, num_bytes, names)

    def _table(self, stream: BinaryIO) -> Iterator[Piece]:
        from pipeline.data.sources.tables import table_pieces

        return table_pieces(stream, self.name, partial(_text_column, repo=self.repo, asked=self.column))


@dataclass(frozen=True)
class TableShard:
    """A file of any other kind, as `datasets` reads it."""

    repo: str
    commit: str
    split: str
    number: int
    num_shards: int
    column: str | None
    """Of the text, if it was asked for."""
    num_bytes: None = None
    num_files: int = 1
    local_files: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.repo} {self.split} {self.number}"

    def pieces(self) -> Iterator[Piece]:
        import polars as pl

        from pipeline.data.sources.frames import batch_of

        first = 1
        with hub_faults(f"Dataset {self.repo!r}"):
            stream = _builder(self.repo, self.commit).as_streaming_dataset(self.split)
            one = stream.shard(num_shards=self.num_shards, index=self.number)
            for table in one.with_format("arrow").iter(TABLE_ROWS):
                frame = pl.DataFrame(table)
                text = _text_column(frame.schema, self.repo, self.column)
                yield Piece(partial(batch_of, frame, text, place=self.name, first=first))
                first += table.num_rows


def _text_column(schema: Mapping[str, pl.DataType], repo: str, asked: str | None) -> str:
    """Raises InputError when it is not clear which one holds the text."""
    from pipeline.data.sources.frames import text_column

    if found := text_column(schema, asked):
        return found
    known = f"Dataset {repo!r} has the columns {', '.join(schema)}"
    if asked:
        raise InputError(f"{known}, and no {asked!r}; choose one of them behind the #.")
    raise InputError(f"{known}; say which one holds the text, as in hub:{repo}#{next(iter(schema), 'column')}.")


def _is_parquet(url: str) -> bool:
    return url.lower().endswith(".parquet")


def _commit(repo: str, revision: str | None) -> tuple[str, dict[str, int]]:
    """The commit that `revision` names now, and the sizes of its files by place. Asked first and once: it fails at once
    where `datasets` would try for half a minute, and pins the commit.
    """
    from huggingface_hub import HfApi

    found = HfApi().dataset_info(repo, revision=revision, files_metadata=True, timeout=ANSWER_SECONDS, token=False)
    sizes = {file.rfilename: file.size for file in found.siblings or () if file.size is not None}
    return str(found.sha), sizes


@lru_cache(maxsize=8)
def _builder(repo: str, commit: str) -> DatasetBuilder:
    import datasets

    # Without this, reading a dataset imports torch.
    datasets.config.TORCH_AVAILABLE = False
    try:
        return datasets.load_dataset_builder(repo, revision=commit, token=False)
    except datasets.data_files.EmptyDatasetError as error:
        raise InputError(f"Dataset {repo!r} holds no data files; choose another.") from error


def _place(url: str) -> str:
    return url.partition("@")[2].partition("/")[2] or url
