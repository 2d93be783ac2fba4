"""Decides which kept files are held out for validation, file by file, by a hash of repository, path and text.

A file is on the same side in every corpus with the same share, whatever other files the corpus has. Repository and path
alone would not do: in some sources many files have the same ones, as `setup.py`, and all would be on one side.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

SPLITS = ("train", "validation")


class Splitter:
    """Divides batches of kept files so that both splits have a file in the end, if there are at least two files.

    For that the files with the lowest and the highest hash are kept back until the end. The lowest goes to validation,
    the highest to training. Their hash puts them there anyway, unless a split would have been empty.
    """

    def __init__(self, validation_share: float) -> None:
        self._share = validation_share
        self._kept_back: pl.DataFrame | None = None

    def divide(self, rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
        """`rows` (at least one) and those kept back before, by split, without the two that are kept back now."""
        import numpy as np
        import polars as pl

        if self._kept_back is not None:
            rows = pl.concat([self._kept_back, rows])
        hashes = np.array([place_of(*names) for names in rows.select("repo_name", "path", "content").iter_rows()])
        order = np.argsort(hashes, kind="stable")
        extremes = order[[0, -1]] if len(order) > 1 else order
        self._kept_back = rows[extremes]
        is_free = np.ones(len(rows), bool)
        is_free[extremes] = False
        is_validation = hashes < self._share
        return {
            "train": rows.filter(pl.Series(is_free & ~is_validation)),
            "validation": rows.filter(pl.Series(is_free & is_validation)),
        }

    def rest(self) -> dict[str, pl.DataFrame]:
        """The two files that are still kept back."""
        assert self._kept_back is not None and len(self._kept_back) == 2, "divide at least two files first"
        return {"train": self._kept_back[1:], "validation": self._kept_back[:1]}


def place_of(repo_name: str, path: str, content: str, *, hash_key: bytes = b"split") -> float:
    """Hash of a file as a number from 0 to 1, evenly distributed.

    `hash_key` (at most 16 bytes) names the decision; the numbers of different keys are independent.
    """
    file = f"{repo_name}\0{path}\0{content}".encode()
    digest = hashlib.blake2b(file, digest_size=8, person=hash_key).digest()
    return int.from_bytes(digest, "big") / 2**64
