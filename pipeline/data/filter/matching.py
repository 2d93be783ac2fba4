"""Finds which files contain which keyword, a column of texts at a time. Case-sensitive; keywords are never patterns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.config.schema import MATCHES, MODULE_NAME
from pipeline.data.sources.base import Batch

if TYPE_CHECKING:
    import polars as pl

BYTE_ORDER_MARK = "\ufeff"
NO_NAME = r"[^0-9A-Za-z_\x{80}-\x{10FFFF}]"
"""Matches a character that ends a name. No non-ASCII character does, because it may be a letter."""


@dataclass(frozen=True)
class Matched:
    """A batch and its kept rows."""

    batch: Batch
    rows: pl.DataFrame
    """The kept rows."""
    hits: pl.DataFrame
    """One Boolean column per keyword: whether each kept row matches it."""
    match: str = "substring"
    """One of MATCHES: what counts as an occurrence of a keyword."""


class Matcher:
    """Finds `keywords` in texts; `match` is one of MATCHES (see DataConfig.match)."""

    def __init__(self, keywords: Iterable[str], match: str = "substring") -> None:
        self.keywords = tuple(keywords)
        self.match = match
        assert match in MATCHES, match

    def matched(self, batch: Batch) -> Matched:
        import polars as pl

        hits = self.hits(batch.rows["content"])
        chosen = kept(hits)
        # The mark is no part of the text, and Python ignores it.
        rows = batch.rows.filter(chosen).with_columns(pl.col("content").str.strip_prefix(BYTE_ORDER_MARK))
        return Matched(batch, rows, hits.filter(chosen), self.match)

    def hits(self, content: pl.Series) -> pl.DataFrame:
        """One Boolean column per keyword: whether each text matches it."""
        import polars as pl

        text = content.rename("text").to_frame()
        # Literal search: polars runs it at memory speed, and a keyword is not a pattern.
        found = text.select(pl.col("text").str.contains(word, literal=True).alias(word) for word in self.keywords)
        if self.match == "substring":
            return found
        return found.select(self._confirmed(content, found[word]) for word in self.keywords)

    def _confirmed(self, content: pl.Series, found: pl.Series) -> pl.Series:
        """Narrows `found`, the texts that contain the keyword, to those that match it as `match` requires."""
        pattern = _identifier(found.name) if self.match == "identifier" else import_pattern(found.name)
        indices = found.arg_true()
        if pattern is None or not len(indices):
            return found & (pattern is not None)
        return found.scatter(indices, content.gather(indices).str.contains(pattern))


def kept(hits: pl.DataFrame) -> pl.Series:
    """Which rows match at least one keyword."""
    import polars as pl

    return hits.select(kept=pl.any_horizontal(pl.all())).to_series()


def places(text: str, keyword: str, match: str = "substring") -> Iterator[tuple[int, int]]:
    """Spans where `text` matches `keyword` as `match` requires: start and end in characters, in ascending order."""
    word = re.escape(keyword)
    if match == "identifier":
        word = rf"(?<!\w){word}(?!\w)"
    elif match == "import":
        # ++ and *+ do not backtrack, so matching takes linear time, as with polars' patterns.
        word = rf"(?m)^[ \t\f\ufeff]*+(?:from|import)[ \t]++(?:[0-9A-Za-z_. ]++,[ \t]*+)*({word})(?![0-9A-Za-z_\x80-\U0010ffff])"
    for found in re.finditer(word, text):
        yield found.span(found.re.groups)


def import_pattern(keyword: str) -> str | None:
    """Pattern of a line that imports the module `keyword` or a part of it; None if `keyword` is not a module name.

    It matches lines and parses nothing, so an import inside a docstring counts. polars' patterns run in linear time.
    """
    if not MODULE_NAME.fullmatch(keyword):
        return None
    # Not \w and \b: their Unicode tables make the search five times slower.
    return (
        rf"(?m)^[ \t\f\x{{FEFF}}]*(?:from|import)[ \t]+(?:[0-9A-Za-z_. ]+,[ \t]*)*{re.escape(keyword)}(?:{NO_NAME}|\z)"
    )


def _identifier(keyword: str) -> str:
    return rf"(?:\A|\W){re.escape(keyword)}(?:\W|\z)"
