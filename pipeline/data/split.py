"""Which kept files are held out for validation: decided file by file, by a hash of repository and path.

The same file falls on the same side in every corpus with the same share, whatever else is in it.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

SPLITS = ("train", "validation")


class Splitter:
    """Divides batches of kept files. Both splits end up with a file when there are at least two.

    For that the files with the lowest and the highest hash are held back to the end: the one belongs to validation and
    the other to training if either split has anything by its hash, and when one has nothing they are still the nearest.
    """

    def __init__(self, validation_share: float) -> None:
        self._share = validation_share
        self._held: pl.DataFrame | None = None

    def divide(self, rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
        """`rows`, and those held back before, by split; one or two of them are held back now."""
        import polars as pl

        if self._held is not None:
            rows = pl.concat([self._held, rows])
        places = pl.Series([place_of(*names) for names in rows.select("repo_name", "path", "content").iter_rows()])
        order = places.arg_sort()
        ends = sorted({order[0], order[-1]}, key=lambda row: places[row])
        self._held = rows[ends]
        is_free = ~pl.int_range(len(rows), eager=True).is_in(ends)
        is_validation = places < self._share
        return {"train": rows.filter(is_free & ~is_validation), "validation": rows.filter(is_free & is_validation)}

    def rest(self) -> dict[str, pl.DataFrame]:
        """The files held back: the last ones of each split. Call it once, after two files or more."""
        assert self._held is not None and len(self._held) == 2
        return {"validation": self._held[:1], "train": self._held[1:]}


def place_of(repo_name: str, path: str, content: str) -> float:
    """Where a file lies between 0 and 1, evenly spread. Files without a path are told apart by their text."""
    names = f"{repo_name}\0{path}" if path else f"{repo_name}\0\0{content}"
    digest = hashlib.blake2b(names.encode(), digest_size=8, person=b"split").digest()
    return int.from_bytes(digest, "big") / 2**64
