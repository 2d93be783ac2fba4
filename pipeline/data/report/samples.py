"""The few kept files that a person is shown: a fair random sample of all of them, not the first ones.

Each kept file draws a number from a seed and its own name; those with the lowest numbers are shown. So the sample is
the same however the source was cut up, and samples of parts give the sample of the whole.
"""

from __future__ import annotations

import hashlib
from bisect import insort
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from pipeline.data.filter.matching import Matched

SEED = 0
LONGEST_SAMPLE = 200_000
"""Characters kept of a file that is shown: nobody reads further, and some hundred samples may be held at once."""


@dataclass(frozen=True, order=True)
class Sample:
    """One kept file, with where it is from and the keywords it mentions."""

    draw: str = field(repr=False)
    """Its number, 16 hexadecimal digits: samples are in this order."""
    repo_name: str
    path: str
    license: str
    copies: str
    size: str
    content: str
    keywords: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name != "draw"}


class Samples:
    """`most` of all kept files, and besides, of each keyword's, `most_of_each`."""

    def __init__(self, most: int = 50, most_of_each: int = 10, seed: int = SEED) -> None:
        self._most = most
        self._most_of_each = most_of_each
        self._seed = seed
        self._all: list[Sample] = []
        self._of_each: dict[str, list[Sample]] = {}

    @classmethod
    def of(cls, samples: Iterable[Sample]) -> Samples:
        """What `to_list` gave, to be merged with others."""
        found = cls()
        for sample in samples:
            found._enter(sample)
        return found

    def add(self, matched: Matched) -> None:
        rows, hits = matched.rows, matched.hits
        flags = [(word, hits[word].to_list()) for word in hits.columns]
        for row, named in enumerate(rows.select("repo_name", "path", "size").iter_rows()):
            draw = self._draw(*named, text="" if named[1] else rows["content"][row])
            keywords = tuple(word for word, has in flags if has[row])
            if any(_enters(draw, samples, most) for samples, most in self._lists(keywords)):
                values = rows.row(row, named=True)
                values["content"] = values["content"][:LONGEST_SAMPLE]
                self._enter(Sample(draw=draw, keywords=keywords, **values))

    def merge(self, other: Samples) -> None:
        """Add what another part of the source gave."""
        for sample in other.to_list():
            self._enter(sample)

    def to_list(self) -> list[Sample]:
        """In the order of their draws, each once."""
        of_each = [sample for samples in self._of_each.values() for sample in samples]
        return sorted({id(sample): sample for sample in [*self._all, *of_each]}.values())

    def _enter(self, sample: Sample) -> None:
        for samples, most in self._lists(sample.keywords):
            if _enters(sample.draw, samples, most):
                insort(samples, sample)
                del samples[most:]

    def _lists(self, keywords: tuple[str, ...]) -> list[tuple[list[Sample], int]]:
        return [
            (self._all, self._most),
            *((self._of_each.setdefault(word, []), self._most_of_each) for word in keywords),
        ]

    def _draw(self, repo_name: str, path: str, size: str, *, text: str) -> str:
        """`text` tells files apart that have no path."""
        names = f"{self._seed}\0{repo_name}\0{path}\0{size}\0{text}"
        return hashlib.blake2b(names.encode(), digest_size=8, person=b"sample").hexdigest()


def _enters(draw: str, samples: list[Sample], most: int) -> bool:
    return len(samples) < most or draw < samples[-1].draw
