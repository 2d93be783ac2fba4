"""Searches texts in the training files of a prepared corpus, and tells which files they stand in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pipeline.artifacts.corpus import Corpus
from pipeline.core.errors import DamagedError, InputError
from pipeline.data.filter import parquet_shards
from pipeline.data.report.licences import licence_id
from pipeline.data.tokens import tokenizer
from pipeline.data.verbatim.ngram_index import NgramIndex, Tokens
from pipeline.data.verbatim.search import Common, search

if TYPE_CHECKING:
    from pathlib import Path

TRAIN = "train"
SNIPPET_TOKENS, BEFORE_SNIPPET = 64, 24
"""Tokens of a snippet from the place on that it shows, and before it, at most."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """A place in a training file."""

    repo: str
    path: str
    license: str
    line: int
    """From 1."""


@dataclass(frozen=True, kw_only=True)
class Snippet:
    """A part of a training file."""

    origin: Origin
    """Where it begins."""
    text: str


class TrainingFiles:
    """The training files of a corpus, searchable. Open it with `TrainingFiles.open`."""

    def __init__(self, corpus: Corpus, index: NgramIndex, tokens: Tokens, starts: npt.NDArray[np.int64]) -> None:
        self.corpus = corpus
        self._index = index
        self._tokens = tokens
        self._starts = starts

    @classmethod
    def open(cls, corpus: Corpus) -> TrainingFiles:
        """Raises InputError when the corpus was prepared without an index, DamagedError when its files do not fit."""
        folder = corpus.folder
        try:
            index = NgramIndex.open(folder.path)
            lengths = np.fromfile(folder.lengths(TRAIN), "<u4")
        except OSError as error:
            raise InputError(
                f"Corpus {corpus.id} has no index of its files; prepare it again with the same settings."
            ) from error
        starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        if starts[-1] != corpus.num_tokens(TRAIN):
            raise DamagedError(
                f"{folder.lengths(TRAIN).name} of corpus {corpus.id} is of other tokens; delete it and prepare the corpus again."
            )
        return cls(corpus, index, corpus.open_tokens(TRAIN), starts)

    def encode(self, text: str) -> list[int]:
        """The tokens of a text as the corpus has them."""
        return self._tokenizer.encode(text).ids

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text of tokens. A character of which a part is missing is U+FFFD."""
        known = [token for token in token_ids if token < self.corpus.vocab_size]
        return self._tokenizer.decode(known, skip_special_tokens=True)

    def search(self, token_ids: Sequence[int]) -> Common:
        """What a text, as tokens of the corpus's tokenizer, has in common with the files."""
        ids = np.array(token_ids, np.int64)
        known = np.where(ids < self.corpus.vocab_size, ids, self.corpus.eos_id)
        return search(self._index, self._tokens, self._starts, known.astype(self._tokens.dtype))

    def origin(self, place: int) -> Origin:
        """The file and line of a token. Raises DamagedError when the kept files cannot be read."""
        file = self._file(place)
        before = self._tokens[int(self._starts[file]) : place]
        row = self._row(file)
        return Origin(**{**row, "license": licence_id(row["license"])}, line=1 + int(self._newlines[before].sum()))

    def snippet(self, place: int) -> Snippet:
        """The whole lines around a token. Raises the error of `origin`."""
        file = self._file(place)
        first, last = int(self._starts[file]), int(self._starts[file + 1])
        start, end = max(first, place - BEFORE_SNIPPET), min(last, place + SNIPPET_TOKENS)
        origin, text = self.origin(start), self.decode(self._tokens[start:end].tolist())
        lines = [line + "\n" for line in text.split("\n")]
        if start > first and len(lines) > 1:
            lines, origin = lines[1:], replace(origin, line=origin.line + 1)
        if end < last and len(lines) > 1:
            lines = lines[:-1]
        return Snippet(origin=origin, text="".join(lines).removesuffix("\n"))

    def _file(self, place: int) -> int:
        """Index of the kept file that the token is in."""
        return int(np.searchsorted(self._starts, place, side="right")) - 1

    def _row(self, file: int) -> dict[str, str]:
        """What the parquet files know of a kept file."""
        for path, num_rows in self._shards:
            if file < num_rows:
                return parquet_shards.facts(path, file)
            file -= num_rows
        raise DamagedError(f"Corpus {self.corpus.id} has fewer kept files than it has tokens of; prepare it again.")

    @cached_property
    def _tokenizer(self) -> tokenizer.Tokenizer:
        return tokenizer.load(self.corpus.tokenizer_path)[0]

    @cached_property
    def _newlines(self) -> npt.NDArray[np.uint16]:
        """How many lines end in each token."""
        texts = self._tokenizer.decode_batch([[token] for token in range(self.corpus.vocab_size)])
        return np.array([text.count("\n") for text in texts], np.uint16)

    @cached_property
    def _shards(self) -> list[tuple[Path, int]]:
        """The parquet files in order, with their numbers of rows."""
        return [(path, parquet_shards.num_rows(path)) for path in parquet_shards.files(self.corpus.folder.path, TRAIN)]
