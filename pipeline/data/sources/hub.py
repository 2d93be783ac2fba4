"""A dataset on the Hugging Face Hub, streamed: `REPO`, `REPO@revision`, `REPO:split`, `REPO@revision:split`.

`datasets` says which files a split has. JSON lines are read by our own reader, because one bad line would cost `datasets`
the whole file and a cut-off .gz all of its rows; everything else comes from it as tables.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pipeline.data.remote import ANSWER_SECONDS, REPO, hub_faults
from pipeline.data.sources import lines
from pipeline.data.sources.batch import TEXT_COLUMNS, Batch, BatchBuilder
from pipeline.errors import InputError

if TYPE_CHECKING:
    from datasets import DatasetBuilder

SPEC = re.compile(rf"(?P<repo>{REPO.pattern})(?:@(?P<revision>[^\s:@]+))?(?::(?P<split>[\w.-]+))?")
TABLE_ROWS = 256
"""Rows of a table per batch."""


class HubSource:
    """The split `train`, unless another is named or it is the only one. Contacts nobody until it is read."""

    note = ""

    def __init__(self, name: str) -> None:
        match = SPEC.fullmatch(name)
        if not match:
            raise InputError(f"source is 'hub:{name}'; write it as hub:owner/name, hub:owner/name@revision:split.")
        self.spec = f"hub:{name}"
        self._repo, self._revision, self._split = match["repo"], match["revision"], match["split"]

    def batches(self) -> Iterator[Batch]:
        with hub_faults(f"Dataset {self._repo!r}"):
            builder = self._builder()
            files = builder.config.data_files or {}
            split = self._split or ("train" if "train" in files or len(files) != 1 else str(next(iter(files))))
            if split not in files:
                known = ", ".join(map(str, files)) or "none"
                raise InputError(f"Dataset {self._repo!r} has no split {split!r}; it has {known}.")
            if all(lines.json_suffix(name) is not None for name in files[split]):
                yield from _read_lines(list(files[split]))
            else:
                yield from self._tables(builder, split)

    def _builder(self) -> DatasetBuilder:
        import datasets
        from huggingface_hub import HfApi

        # Without this, reading a dataset imports torch.
        datasets.config.TORCH_AVAILABLE = False
        # Asked first and once: it fails at once where datasets would try for half a minute, and pins the commit.
        found = HfApi().dataset_info(self._repo, revision=self._revision, timeout=ANSWER_SECONDS, token=False)
        try:
            return datasets.load_dataset_builder(self._repo, revision=found.sha, token=False)
        except datasets.data_files.EmptyDatasetError as error:
            raise InputError(f"Dataset {self._repo!r} holds no data files; choose another.") from error

    def _tables(self, builder: DatasetBuilder, split: str) -> Iterator[Batch]:
        import polars as pl

        from pipeline.data.sources.frames import batch_of, text_column

        first = 1
        for table in builder.as_streaming_dataset(split).with_format("arrow").iter(TABLE_ROWS):
            text = text_column(table.column_names)
            if text is None:
                raise InputError(
                    f"Dataset {self._repo!r} has the columns {', '.join(table.column_names)}; "
                    f"choose one with a text column named {', '.join(TEXT_COLUMNS[:-1])} or {TEXT_COLUMNS[-1]}."
                )
            yield batch_of(pl.DataFrame(table), text, place=self._repo, first=first, progress=None)
            first += table.num_rows


def _read_lines(urls: list[str]) -> Iterator[Batch]:
    from datasets import DownloadConfig
    from datasets.utils.file_utils import xopen

    builder = BatchBuilder()
    for number, url in enumerate(urls):
        packing = lines.json_suffix(url) or ""
        may_be_document = not url.lower().removesuffix(packing).endswith(".jsonl")
        place = url.partition("@")[2].partition("/")[2] or url  # hf://datasets/owner/name@commit/place
        # xopen reads piece by piece and comes back after a lost connection.
        with xopen(url, "rb", download_config=DownloadConfig(token=False)) as stream:
            chunks = lines.unpacked(stream, packing, lambda num_bytes: None)
            for row in lines.rows(chunks, place, may_be_document=may_be_document):
                builder.add(row)
                if builder.is_full:
                    yield builder.take(_share(number, len(urls), stream))
    if not builder.is_empty:
        yield builder.take(1.0)


def _share(number: int, num_files: int, stream: Any) -> float:
    return (number + stream.tell() / max(1, stream.size)) / num_files
