"""Searches a text in the training files: its longest runs of tokens that stand there, and the places most like it.

A run lies in one file. It is found if it has MIN_RUN tokens, and if none of its n-grams stands in the files more than
MAX_PLACES times before it. The time is bounded by the length of the text times MAX_PLACES.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.data.verbatim.ngram_index import MIN_RUN, NGRAM, STRIDE, NgramIndex, Places, Tokens

MAX_PLACES = 10_000
"""Places of an n-gram that are compared. More often stand only the first lines of licences and the like."""
MAX_TELLING = 1_000
"""An n-gram with more places says nothing about which file a text is like."""
NEAR_TOKENS = 64
"""Tokens of a region whose likeness is measured."""
NUM_NEAREST = 3


@dataclass(frozen=True, kw_only=True)
class CopiedRun:
    """Tokens of the text that stand in the files as they are. No longer run contains it."""

    start: int
    end: int
    """Indices of the text's tokens, `end` exclusive."""
    places: tuple[int, ...]
    """Where it begins in the token file, in order, each place once."""


@dataclass(frozen=True, kw_only=True)
class Near:
    """A region of the files that shares rare n-grams with the text."""

    place: int
    """Index in the token file of a token that is in it."""
    num_shared: int
    """N-grams of the text that were found in it."""


@dataclass(frozen=True, kw_only=True)
class Common:
    """What a text has in common with the files."""

    runs: Sequence[CopiedRun]
    """In order; they may overlap."""
    nearest: Sequence[Near]
    """Of different files, most like it first."""

    def is_copied(self, num_tokens: int) -> npt.NDArray[np.bool_]:
        """bool[num_tokens]: which tokens of the text are in a run."""
        copied = np.zeros(num_tokens, bool)
        for run in self.runs:
            copied[run.start : run.end] = True
        return copied


@dataclass
class _Region:
    place: int
    num_shared: int = 0
    likeness: float = 0.0
    """The rarer an n-gram, the more it counts."""


def search(index: NgramIndex, tokens: Tokens, starts: npt.NDArray[np.int64], text: Tokens) -> Common:
    """Search `text` in `tokens`, whose files begin at `starts`; the last one is their end."""
    found: dict[tuple[int, int], set[int]] = defaultdict(set)
    regions: dict[int, _Region] = {}
    for at in range(len(text) - NGRAM + 1):
        places = _equal(tokens, starts, text, at, index.places_of(text[at : at + NGRAM], limit=MAX_PLACES))
        if 0 < len(places) <= MAX_TELLING:
            for region, first in zip(*np.unique(places // NEAR_TOKENS, return_index=True), strict=True):
                known = regions.setdefault(int(region), _Region(int(places[first])))
                known.num_shared += 1
                known.likeness += math.log(2 * MAX_TELLING / len(places))
        for place, before, after in _beginning_here(tokens, starts, text, at, places):
            found[at - before, at + after].add(place - before)
    return Common(runs=_maximal(found), nearest=_nearest(regions.values(), starts))


def _equal(tokens: Tokens, starts: npt.NDArray[np.int64], text: Tokens, at: int, places: Places) -> Places:
    """Those of `places` at which the n-gram `at` of the text stands within one file."""
    places = places[places + NGRAM <= len(tokens)]
    ends = starts[np.searchsorted(starts, places, side="right")]
    places = places[places + NGRAM <= ends]
    return places[_same(tokens, text, places, at, 1, np.full(len(places), NGRAM)) == NGRAM]


def _beginning_here(
    tokens: Tokens, starts: npt.NDArray[np.int64], text: Tokens, at: int, places: Places
) -> Iterator[tuple[int, int, int]]:
    """The runs whose first n-gram of the index is the one `at`: its place, how many tokens before it are the same, and how
    many from it on. Other runs were found at an n-gram before, and are not followed again.
    """
    file = np.searchsorted(starts, places, side="right") - 1
    left = _same(tokens, text, places - 1, at - 1, -1, np.minimum(places - starts[file], min(at, STRIDE)))
    is_new = left < STRIDE
    places, left, file = places[is_new], left[is_new], file[is_new]
    right = _same(tokens, text, places, at, 1, np.minimum(starts[file + 1] - places, len(text) - at))
    is_long = left + right >= MIN_RUN
    yield from zip(places[is_long].tolist(), left[is_long].tolist(), right[is_long].tolist(), strict=True)


def _same(tokens: Tokens, text: Tokens, places: Places, at: int, direction: int, limits: Places) -> Places:
    """From each place on, how many tokens are those of the text from `at` on; at most the limit of the place."""
    lengths = np.zeros(len(places), np.int64)
    alive = np.flatnonzero(limits > 0)
    while len(alive):
        length = int(lengths[alive[0]])
        same = tokens[places[alive] + direction * length] == text[at + direction * length]
        alive = alive[same]
        lengths[alive] += 1
        alive = alive[limits[alive] > length + 1]
    return lengths


def _maximal(found: dict[tuple[int, int], set[int]]) -> list[CopiedRun]:
    """The runs that no longer one contains."""
    kept: list[CopiedRun] = []
    for start, end in sorted(found, key=lambda bounds: (bounds[0], -bounds[1])):
        if not kept or end > kept[-1].end:
            kept.append(CopiedRun(start=start, end=end, places=tuple(sorted(found[start, end]))))
    return kept


def _nearest(regions: Iterable[_Region], starts: npt.NDArray[np.int64]) -> list[Near]:
    nearest: dict[int, Near] = {}
    for region in sorted(regions, key=lambda region: (-region.likeness, region.place)):
        file = int(np.searchsorted(starts, region.place, side="right")) - 1
        nearest.setdefault(file, Near(place=region.place, num_shared=region.num_shared))
        if len(nearest) == NUM_NEAREST:
            break
    return list(nearest.values())
