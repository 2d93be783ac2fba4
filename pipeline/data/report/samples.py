"""The few kept files that a person is shown: a fair random sample of all of them, not the first ones.

The number of a kept file is a hash of a seed and its name; the files with the lowest numbers are shown. So the sample
does not depend on how the source was divided, and the merged samples of its parts are the sample of the whole.
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
"""Characters kept of a file that is shown: nobody reads further, and hundreds of samples may be in memory at once."""


@dataclass(frozen=True, order=True)
class Sample:
    """One kept file, with its origin and the keywords it contains."""

    hash_key: str = field(repr=False)
    """Its number, 16 hexadecimal digits; samples are sorted by it."""
    repo_name: str
    path: str
    license: str
    copies: str
    size: str
    content: str
    keywords: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name != "hash_key"}


class Samples:
    """A sample of `max_samples` of all kept files, and in addition of `max_of_each` of the files of each keyword."""

    def __init__(self, max_samples: int = 50, max_of_each: int = 10, seed: int = SEED) -> None:
        self._max_samples = max_samples
        self._max_of_each = max_of_each
        self._seed = seed
        self._all: list[Sample] = []
        self._of_each: dict[str, list[Sample]] = {}

    @classmethod
    def of(cls, samples: Iterable[Sample]) -> Samples:
        """The inverse of `to_list`, for merging with other samples."""
        found = cls()
        for sample in samples:
            found._insert(sample)
        return found

    def add(self, matched: Matched) -> None:
        rows, hits = matched.rows, matched.hits
        flags = [(word, hits[word].to_list()) for word in hits.columns]
        for row, named in enumerate(rows.select("repo_name", "path", "size").iter_rows()):
            hash_key = self._hash_key(*named, text="" if named[1] else rows["content"][row])
            keywords = tuple(word for word, has in flags if has[row])
            if any(_is_drawn(hash_key, samples, limit) for samples, limit in self._lists(keywords)):
                values = rows.row(row, named=True)
                values["content"] = values["content"][:LONGEST_SAMPLE]
                self._insert(Sample(hash_key=hash_key, keywords=keywords, **values))

    def merge(self, other: Samples) -> None:
        """Add the samples of another part of the source."""
        for sample in other.to_list():
            self._insert(sample)

    def to_list(self) -> list[Sample]:
        """All samples in the order of `hash_key`, each once."""
        of_each = [sample for samples in self._of_each.values() for sample in samples]
        return sorted({id(sample): sample for sample in [*self._all, *of_each]}.values())

    def _insert(self, sample: Sample) -> None:
        for samples, limit in self._lists(sample.keywords):
            if _is_drawn(sample.hash_key, samples, limit):
                insort(samples, sample)
                del samples[limit:]

    def _lists(self, keywords: tuple[str, ...]) -> list[tuple[list[Sample], int]]:
        return [
            (self._all, self._max_samples),
            *((self._of_each.setdefault(word, []), self._max_of_each) for word in keywords),
        ]

    def _hash_key(self, repo_name: str, path: str, size: str, *, text: str) -> str:
        """`text` distinguishes files that have no path."""
        names = f"{self._seed}\0{repo_name}\0{path}\0{size}\0{text}"
        return hashlib.blake2b(names.encode(), digest_size=8, person=b"sample").hexdigest()


def _is_drawn(hash_key: str, samples: list[Sample], limit: int) -> bool:
    return len(samples) < limit or hash_key < samples[-1].hash_key
