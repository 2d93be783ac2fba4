"""A dataset on the Hugging Face Hub, streamed: `REPO[/config][@revision][:split][#column]`. The config is named when
the dataset has several, the column when the text is in one with an unusual name.

A repository never decides what is opened. The Hub lists its files at a commit; its card (card.py) and its file names
(splits.py) only select among those, and each file is opened without a token, at an address that is built here. The
readers of this project read the files in bounded memory. `datasets` receives no repository and no card, but at most a
single address.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

from pipeline.core.errors import FieldError, InputError
from pipeline.core.repo_names import REPO
from pipeline.data.readers import formats
from pipeline.data.sources.base import BadRow
from pipeline.data.sources.dataset_card import LARGEST_CARD, Config, config_of
from pipeline.data.sources.datasets_builders import TableShard, text_column_of
from pipeline.data.sources.hub_errors import ANSWER_SECONDS, hub_faults
from pipeline.data.sources.names import UNSAFE_NAME, UnfitPattern, is_plain, shown
from pipeline.data.sources.shard import Block, LeftOut, Source, never
from pipeline.data.sources.splits import builder_of, splits_of

SPEC = re.compile(
    rf"(?P<repo>{REPO.pattern})(?:/(?P<config>\w[\w.+-]*))?(?:@(?P<revision>[^\s:@]+))?(?::(?P<split>[\w.-]+))?(?:#(?P<column>\S+))?"
)
CARD = "README.md"
MAX_NAMES = 20
"""Maximum number of split names in a message."""


class HubSource(Source):
    """Reads the requested split; by default `train`, or the only split. Makes no request before `shards` is called.

    `builders`: whether `datasets` may read formats without a reader of our own. Its memory use is unbounded.
    """

    def __init__(self, name: str, *, builders: bool = True) -> None:
        match = SPEC.fullmatch(name)
        if not match:
            raise FieldError(
                "source", f"hub:{name}", "write it as hub:owner/name, hub:owner/name/config@revision:split#column"
            )
        self.spec = f"hub:{name}"
        self._repo, self._revision, self._split = match["repo"], match["revision"], match["split"]
        self._config, self._column = match["config"], match["column"]
        self._builders = builders

    def shards(self, is_over: Callable[[], bool] = never) -> list[FileShard | TableShard | LeftOut]:
        with hub_faults(f"Dataset {self._repo!r}"):
            listing = RepoFiles.of(self._repo, self._revision)
            files = self._chosen(listing.splits(self._config))
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
        return [LeftOut(f"{self._repo} files left out", tuple(left_out)), *shards] if left_out else [*shards]

    def _chosen(self, splits: dict[str, list[str]]) -> list[str]:
        """The files of the requested split."""
        if not splits:
            raise InputError(
                f"Dataset {self._repo!r} holds no data files that can be read; choose one of {formats.ENDINGS}."
            )
        split = self._split or ("train" if "train" in splits or len(splits) != 1 else next(iter(splits)))
        if split not in splits:
            known = ", ".join(list(splits)[:MAX_NAMES])
            raise InputError(f"Dataset {self._repo!r} has no split {split!r}; it has {known}.")
        return splits[split]

    def _shard(self, name: str, listing: RepoFiles) -> FileShard | TableShard:
        url, size = listing.address(name), listing.sizes[name]
        if builder := builder_of(name):
            return TableShard(self._repo, url, name, size, self._column, builder)
        return FileShard(self._repo, url, name, size, self._column)


@dataclass(frozen=True)
class RepoFiles:
    """The files of a repository at one commit, as the Hub lists them."""

    repo: str
    commit: str
    sizes: Mapping[str, int | None]
    """File name -> size, for files whose names are plain paths."""
    unsafe: tuple[str, ...]
    """The names of the other files."""

    @classmethod
    def of(cls, repo: str, revision: str | None) -> RepoFiles:
        """Lists the files at the commit that `revision` names now. Passes on the errors of the Hub's client."""
        from huggingface_hub import HfApi

        found = HfApi().dataset_info(repo, revision=revision, files_metadata=True, timeout=ANSWER_SECONDS, token=False)
        files = {file.rfilename: file.size for file in found.siblings or ()}
        if "/" not in repo and REPO.fullmatch(found.id):
            repo = found.id  # some datasets can be named without an owner, but their files are under the full name
        sizes = {name: size for name, size in files.items() if is_plain(name)}
        return cls(repo, str(found.sha), sizes, tuple(name for name in files if name not in sizes))

    def splits(self, config: str | None) -> dict[str, list[str]]:
        """Split -> names of its files, of one config of the card. Raises InputError when the card lacks it, has several
        and `config` is None, or names anything but files listed here.
        """
        try:
            return splits_of(self.sizes, self._config(config))
        except UnfitPattern as fault:
            raise InputError(
                f"The card (README.md) of dataset {self.repo!r} names {fault}; choose another dataset."
            ) from None

    def address(self, name: str) -> str:
        """The address of a listed file. Its name is a plain path, so the address cannot be a chain of addresses."""
        assert name in self.sizes and is_plain(name), name
        return f"hf://datasets/{self.repo}@{self.commit}/{name}"

    def _config(self, name: str | None) -> Config:
        if CARD not in self.sizes:
            return config_of(b"", self.repo, name)
        with opened(self.address(CARD)) as stream:
            return config_of(stream.read(LARGEST_CARD), self.repo, name)


def opened(url: str) -> BinaryIO:
    """A file on the Hub, read in blocks and without a token. Reading resumes after a lost connection."""
    from datasets import DownloadConfig
    from datasets.utils.file_utils import xopen

    return xopen(url, "rb", download_config=DownloadConfig(token=False))


@dataclass(frozen=True)
class FileShard:
    """A file that this project reads itself."""

    repo: str
    url: str
    """hf://datasets/owner/name@commit/path"""
    name: str
    num_bytes: int | None
    column: str | None
    """The requested text column, if any."""
    num_files: int = 1
    local_files: tuple[str, ...] = ()

    def blocks(self) -> Iterator[Block]:
        found = formats.format_of(self.name)
        assert found is not None
        text_of = partial(text_column_of, repo=self.repo, asked=self.column)
        with hub_faults(f"Dataset {self.repo!r}"), opened(self.url) as stream:
            num_bytes = self.num_bytes or stream.size  # type: ignore[attr-defined]
            yield from formats.blocks(stream, found, self.name, num_bytes, text_of)


def _needs_owner(name: str) -> str:
    return f"only the page's owner may read .{name.lower().rpartition('.')[2]}"
