"""The few kept files that a person is shown."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pipeline.data.matching import kept
from pipeline.data.sources.batch import Batch

if TYPE_CHECKING:
    import polars as pl

PER_REPOSITORY = 3
"""Kept files shown of one repository, while there are others to show."""


@dataclass(frozen=True)
class Sample:
    """One kept file, with where it is from and the keywords it mentions."""

    repo_name: str
    path: str
    license: str
    copies: str
    size: str
    content: str
    keywords: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Samples:
    """The first `max_samples` kept files, of one repository at most PER_REPOSITORY: else installed packages would show
    pandas alone. Only when fewer repositories were met than that takes, further files of the same ones fill the rest.
    """

    def __init__(self, max_samples: int) -> None:
        self._max_samples = max_samples
        self._chosen: list[Sample] = []
        self._further: list[Sample] = []
        self._shown: Counter[str] = Counter()

    def add(self, batch: Batch, hits: pl.DataFrame) -> None:
        for row in kept(hits).arg_true().to_list():
            if len(self._chosen) >= self._max_samples:
                return
            name = batch.rows["repo_name"][row]
            if self._shown[name] < PER_REPOSITORY:
                self._chosen.append(_sample(batch, hits, row))
                self._shown[name] += 1
            elif len(self._further) < self._max_samples:
                self._further.append(_sample(batch, hits, row))

    def to_list(self) -> list[Sample]:
        return (self._chosen + self._further)[: self._max_samples]


def _sample(batch: Batch, hits: pl.DataFrame, row: int) -> Sample:
    values = batch.rows.row(row, named=True)
    keywords = tuple(hit.name for hit in hits.iter_columns() if hit[row])
    return Sample(**values, keywords=keywords)
