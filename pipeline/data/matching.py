"""Which files mention which keyword: plain substrings, case-sensitive, a column of texts at a time."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

MODULE_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)


class Matcher:
    """Looks for `keywords` in texts."""

    def __init__(self, keywords: Iterable[str]) -> None:
        self.keywords = tuple(keywords)

    def hits(self, content: pl.Series) -> pl.DataFrame:
        """One Boolean column per keyword: whether each text contains it."""
        import polars as pl

        text = content.rename("text").to_frame()
        # By literal: polars searches it at memory speed, and no keyword is a pattern.
        return text.select(pl.col("text").str.contains(word, literal=True).alias(word) for word in self.keywords)


def kept(hits: pl.DataFrame) -> pl.Series:
    """Which rows mention at least one keyword."""
    import polars as pl

    return hits.select(kept=pl.any_horizontal(pl.all())).to_series()


def count_imports(content: pl.Series, keyword: str) -> int | None:
    """How many texts import the module `keyword` or a part of it, at the start of a line; None if it names no module.

    A look at lines, not a parser: an import inside a docstring counts. polars' patterns run in linear time.
    """
    if not MODULE_NAME.fullmatch(keyword):
        return None
    pattern = rf"(?m)^[ \t]*(?:from|import)[ \t]+(?:[\w. ]+,[ \t]*)*{re.escape(keyword)}\b"
    return int(content.str.contains(pattern).sum())
