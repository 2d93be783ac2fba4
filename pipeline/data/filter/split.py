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
    """Divides batches of kept files so that both splits have a file in the end, if there are at least two files.

    For that the files with the lowest and the highest hash are held back: the lowest is validation's and the highest
    training's. By their hash they are so anyway, unless a split would have been empty.
    """

    def __init__(self, validation_share: float) -> None:
        self._share = validation_share
        self._held: pl.DataFrame | None = None

    def divide(self, rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
        """`rows` (at least one) and those held back before, by split, without the two that are held back now."""
        import numpy as np
        import polars as pl

        if self._held is not None:
            rows = pl.concat([self._held, rows])
        places = np.array([place_of(*names) for names in rows.select("repo_name", "path", "content").iter_rows()])
        order = np.argsort(places, kind="stable")
        held = order[[0, -1]] if len(order) > 1 else order
        self._held = rows[held]
        is_free = np.ones(len(rows), bool)
        is_free[held] = False
        is_validation = places < self._share
        return {
            "train": rows.filter(pl.Series(is_free & ~is_validation)),
            "validation": rows.filter(pl.Series(is_free & is_validation)),
        }

    def rest(self) -> dict[str, pl.DataFrame]:
        """The two files that are still held back."""
        assert self._held is not None and len(self._held) == 2, "divide at least two files first"
        return {"train": self._held[1:], "validation": self._held[:1]}


def place_of(repo_name: str, path: str, content: str, *, draw: bytes = b"split") -> float:
    """Where a file lies from 0 to 1, evenly spread. Files without a path are told apart by their text.

    `draw` (at most 16 bytes) says what is decided: another draw's places have nothing to do with these.
    """
    names = f"{repo_name}\0{path}" if path else f"{repo_name}\0\0{content}"
    digest = hashlib.blake2b(names.encode(), digest_size=8, person=draw).digest()
    return int.from_bytes(digest, "big") / 2**64
