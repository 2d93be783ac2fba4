"""An index of the n-grams of a token file: where each stands, by its hash. Does not depend on what the tokens mean.

Every STRIDE-th n-gram is in it, so that any run of MIN_RUN tokens contains one. A place takes 4 bytes, and the table of
buckets 1 to 2 more: about as much as a token of uint16 takes for each 3 tokens. Another token file than the one it was
built of gives fewer results, never wrong ones: whoever searches compares the tokens themselves.

    ngram-offsets.bin   uint32[buckets + 1]: where the places of each bucket begin
    ngram-places.bin    uint32[places]: index of the n-gram divided by STRIDE, in order within a bucket
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.core.errors import DamagedError

NGRAM = 7
STRIDE = 6
MIN_RUN = NGRAM + STRIDE - 1
"""Tokens of the shortest run that always contains an n-gram of the index."""
FILES = ("ngram-offsets.bin", "ngram-places.bin")
PLACES_PER_BUCKET = 4
CHUNK_TOKENS = 6 * 2**20
"""Tokens that are hashed together; a multiple of STRIDE."""
MAX_TOKENS = 2**32 - 1
"""Of an indexed file: each MAX_SORTED places need a pass over the tokens."""
MAX_SORTED = 2**25
"""Places that are sorted together, which takes 16 bytes for each of them."""
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
"""Odd, and its bits are spread: 2^64 divided by the golden ratio (Knuth, The Art of Computer Programming, 6.4)."""

Tokens = npt.NDArray[np.integer[Any]]
Places = npt.NDArray[np.int64]
Show = Callable[[float], None]
"""Called with the share that is done. May raise to end the work."""


@dataclass(frozen=True)
class NgramIndex:
    """An opened index. Its arrays are read from disk when they are used."""

    offsets: npt.NDArray[np.uint32]
    places: npt.NDArray[np.uint32]

    @classmethod
    def open(cls, folder: Path) -> NgramIndex:
        """Raises OSError when there is no index, DamagedError when its files do not fit together."""
        try:
            offsets, places = (_mapped(folder / name) for name in FILES)
        except ValueError:  # no whole numbers
            offsets = places = np.empty(0, np.uint32)
        if len(offsets) != num_buckets(len(places)) + 1 or offsets[-1] != len(places):
            raise DamagedError(
                f"The index of corpus {folder.name} is not whole; delete {FILES[0]} and prepare the corpus again."
            )
        return cls(offsets, places)

    def places_of(self, ngram: Tokens, *, limit: int) -> Places:
        """Where n-grams with the hash of `ngram` begin in the token file, in order, at most the first `limit`."""
        bucket = int(buckets_of(ngram, len(self.offsets) - 1)[0])
        start, end = int(self.offsets[bucket]), int(self.offsets[bucket + 1])
        return self.places[start : min(end, start + limit)].astype(np.int64) * STRIDE


def num_buckets(num_places: int) -> int:
    """A power of two."""
    return 1 << max(1, (num_places // PLACES_PER_BUCKET).bit_length())


def num_places(num_tokens: int) -> int:
    """Number of n-grams that are indexed."""
    return max(0, (num_tokens - NGRAM) // STRIDE + 1)


def num_bytes(num_tokens: int) -> int:
    """Size of the index on disk."""
    return 4 * (num_places(num_tokens) + num_buckets(num_places(num_tokens)) + 1)


def build(tokens: Tokens, folder: Path, *, show: Show = lambda share: None, max_sorted: int = MAX_SORTED) -> list[Path]:
    """Write the index of `tokens` into `folder`, and return its files. The same bytes for the same tokens.

    Sorts the places of some buckets at a time, about `max_sorted`, and reads the tokens once for each time.
    """
    count = num_places(len(tokens))
    assert len(tokens) <= MAX_TOKENS, "whoever calls it leaves the index out"
    buckets = num_buckets(count)
    per_pass = -(-buckets // max(1, -(-count // max_sorted)))
    passes = range(0, buckets, per_pass)
    paths = [folder / name for name in FILES]
    staged = [path.with_name(f".{path.name}.tmp") for path in paths]
    with staged[0].open("wb") as offsets, staged[1].open("wb") as places:
        offsets.write(np.zeros(1, "<u4").tobytes())
        num_written = 0
        for number, first in enumerate(passes):
            last = min(first + per_pass, buckets)
            found = []
            for done, keys in _keys(tokens, buckets):
                show((number + done) / len(passes))
                found.append(keys[(keys >= np.uint64(first << 32)) & (keys < np.uint64(last << 32))])
            ordered = np.concatenate(found) if found else np.empty(0, np.uint64)
            ordered.sort()
            places.write(ordered.astype("<u4").tobytes())  # the lower half of each
            sizes = np.bincount((ordered >> np.uint64(32)).astype(np.int64) - first, minlength=last - first)
            offsets.write((num_written + np.cumsum(sizes)).astype("<u4").tobytes())
            num_written += len(ordered)
    for source, target in zip(staged, paths, strict=True):
        source.replace(target)
    return paths


def buckets_of(tokens: Tokens, buckets: int) -> npt.NDArray[np.uint64]:
    """The bucket of every STRIDE-th n-gram of `tokens`."""
    count = num_places(len(tokens))
    hashes = np.zeros(count, np.uint64)
    for offset in range(NGRAM):
        hashes += tokens[offset : offset + (count - 1) * STRIDE + 1 : STRIDE].astype(np.uint64) + np.uint64(1)
        hashes *= MULTIPLIER
        hashes ^= hashes >> np.uint64(29)
    return (hashes * MULTIPLIER) >> np.uint64(65 - buckets.bit_length())


def _keys(tokens: Tokens, buckets: int) -> Iterator[tuple[float, npt.NDArray[np.uint64]]]:
    """The share of the tokens that is done, and for each n-gram its bucket in the upper half and its place in the lower."""
    for start in range(0, len(tokens), CHUNK_TOKENS):
        chunk = np.asarray(tokens[start : start + CHUNK_TOKENS + NGRAM - 1])
        if num_places(len(chunk)):
            of_chunk = buckets_of(chunk, buckets)[: CHUNK_TOKENS // STRIDE]
            places = np.arange(start // STRIDE, start // STRIDE + len(of_chunk), dtype=np.uint64)
            yield min(1.0, (start + CHUNK_TOKENS) / len(tokens)), (of_chunk << np.uint64(32)) | places


def _mapped(path: Path) -> npt.NDArray[np.uint32]:
    if not path.stat().st_size:
        return np.empty(0, np.uint32)
    return np.memmap(path, dtype="<u4", mode="r")
