"""A dataset on the Hugging Face Hub, streamed: `REPO`, `REPO@revision`, `REPO:split`, `REPO@revision:split`; any of them
with `#column` behind it, when the text is in a column of another name than the usual ones.

A repository never decides what is opened. Its files are listed by the Hub, at a commit; its card (card.py) and the names
of its files (splits.py) choose among those, and each is opened at an address that is made here, without a token. They are
read by our own readers, in bounded memory. `datasets` gets no repository and no card, but at most a single address.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

from pipeline.core.errors import InputError
from pipeline.data.readers import formats
from pipeline.data.sources.base import BadRow, batch_of_rows
from pipeline.data.sources.builders import TableShard, text_column_of
from pipeline.data.sources.card import LARGEST_CARD, Config, config_of
from pipeline.data.sources.hub_errors import ANSWER_SECONDS, REPO, hub_faults
from pipeline.data.sources.names import UnfitPattern, is_plain, shown
from pipeline.data.sources.shard import Piece, Source
from pipeline.data.sources.splits import builder_of, splits_of

SPEC = re.compile(rf"(?P<repo>{REPO.pattern})(?:@(?P<revision>[^\s:@]+))?(?::(?P<split>[\w.-]+))?(?:#(?P<column>\S+))?")
CARD = "README.md"
MOST_NAMES = 20
"""Names of splits that a message shows."""
UNSAFE_NAME = "name that is no plain path"


class HubSource(Source):
    """The split `train`, unless another is named or it is the only one. Contacts nobody until it is read.

    `builders`: whether formats without a reader of ours may be read by `datasets`, whose memory has no limit.
    """

    def __init__(self, name: str, *, builders: bool = True) -> None:
        match = SPEC.fullmatch(name)
        if not match:
            raise InputError(
                f"source is 'hub:{name}'; write it as hub:owner/name, hub:owner/name@revision:split#column."
            )
        self.spec = f"hub:{name}"
        self._repo, self._revision, self._split = match["repo"], match["revision"], match["split"]
        self._column = match["column"]
        self._builders = builders

    def shards(self) -> list[FileShard | TableShard | LeftOut]:
        with hub_faults(f"Dataset {self._repo!r}"):
            listing = Listing.of(self._repo, self._revision)
            files = self._chosen(listing.splits())
        left_out = [BadRow(UNSAFE_NAME, shown(name)) for name in listing.unsafe]
        if not self._builders:
            kept = [name for name in files if builder_of(name) is None]
            left_out += [BadRow(_needs_owner(name), name) for name in files if builder_of(name) is not None]
            if not kept:
                raise InputError(
                    f"Dataset {self._repo!r} needs the owner: {_needs_owner(files[0])}; choose another one."
                )
            files = kept
        shards = [self._shard(name, listing) for name in files]
        return [LeftOut(self._repo, tuple(left_out)), *shards] if left_out else [*shards]

    def _chosen(self, splits: dict[str, list[str]]) -> list[str]:
        """The files of the split that was asked for."""
        if not splits:
            raise InputError(
                f"Dataset {self._repo!r} holds no data files that can be read; choose one of {formats.ENDINGS}."
            )
        split = self._split or ("train" if "train" in splits or len(splits) != 1 else next(iter(splits)))
        if split not in splits:
            known = ", ".join(list(splits)[:MOST_NAMES])
            raise InputError(f"Dataset {self._repo!r} has no split {split!r}; it has {known}.")
        return splits[split]

    def _shard(self, name: str, listing: Listing) -> FileShard | TableShard:
        url, size = listing.address(name), listing.sizes[name]
        if builder := builder_of(name):
            return TableShard(self._repo, url, name, size, self._column, builder)
        return FileShard(self._repo, url, name, size, self._column)


@dataclass(frozen=True)
class Listing:
    """The files of a repository at a commit, as the Hub lists them."""

    repo: str
    commit: str
    sizes: Mapping[str, int | None]
    """Of the files whose names are plain paths, by name."""
    unsafe: tuple[str, ...]
    """The names of the others."""

    @classmethod
    def of(cls, repo: str, revision: str | None) -> Listing:
        """Pins the commit that `revision` names now. What the Hub's client raises, it raises."""
        from huggingface_hub import HfApi

        found = HfApi().dataset_info(repo, revision=revision, files_metadata=True, timeout=ANSWER_SECONDS, token=False)
        files = {file.rfilename: file.size for file in found.siblings or ()}
        if "/" not in repo and REPO.fullmatch(found.id):
            repo = found.id  # the Hub knows some by a name without an owner; their files lie under the whole one
        sizes = {name: size for name, size in files.items() if is_plain(name)}
        return cls(repo, str(found.sha), sizes, tuple(name for name in files if name not in sizes))

    def splits(self) -> dict[str, list[str]]:
        """Split -> names of its files. Raises InputError when the card asks for anything else than files listed here."""
        try:
            return splits_of(self.sizes, self._config())
        except UnfitPattern as fault:
            raise InputError(
                f"The card (README.md) of dataset {self.repo!r} names {fault}; choose another dataset."
            ) from None

    def address(self, name: str) -> str:
        """Where a file lies. It is in the listing, so its name is a plain path, and its address no chain of them."""
        assert name in self.sizes and is_plain(name), name
        return f"hf://datasets/{self.repo}@{self.commit}/{name}"

    def _config(self) -> Config:
        if CARD not in self.sizes:
            return Config()
        with opened(self.address(CARD)) as stream:
            return config_of(stream.read(LARGEST_CARD), self.repo)


def opened(url: str) -> BinaryIO:
    """A file on the Hub. It is read piece by piece, without a token, and comes back after a lost connection."""
    from datasets import DownloadConfig
    from datasets.utils.file_utils import xopen

    return xopen(url, "rb", download_config=DownloadConfig(token=False))


@dataclass(frozen=True)
class FileShard:
    """A file that we read ourselves."""

    repo: str
    url: str
    """hf://datasets/owner/name@commit/place"""
    name: str
    num_bytes: int | None
    column: str | None
    """Of the text, if it was asked for."""
    num_files: int = 1
    local_files: tuple[str, ...] = ()

    def pieces(self) -> Iterator[Piece]:
        found = formats.format_of(self.name)
        assert found is not None
        text_of = partial(text_column_of, repo=self.repo, asked=self.column)
        with hub_faults(f"Dataset {self.repo!r}"), opened(self.url) as stream:
            num_bytes = self.num_bytes or stream.size  # type: ignore[attr-defined]
            yield from formats.pieces(stream, found, self.name, num_bytes, text_of, self.column)


@dataclass(frozen=True)
class LeftOut:
    """Files that are not opened, each a bad row that says why."""

    repo: str
    rows: tuple[BadRow, ...]
    num_bytes: int = 0
    num_files: int = 0
    local_files: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.repo} files left out"

    def pieces(self) -> Iterator[Piece]:
        yield Piece(partial(batch_of_rows, self.rows), 1.0)


def _needs_owner(name: str) -> str:
    return f"only the page's owner may read .{name.lower().rpartition('.')[2]}"
