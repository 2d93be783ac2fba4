"""Which files mention which keyword, a column of texts at a time. Case-sensitive, and never a pattern of the asker's."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.config.schema import MATCHES, MODULE_NAME
from pipeline.data.sources.base import Batch

if TYPE_CHECKING:
    import polars as pl

NO_NAME = r"[^0-9A-Za-z_\x{80}-\x{10FFFF}]"
"""A character that ends a name; letters of other alphabets may go on with it."""


@dataclass(frozen=True)
class Matched:
    """A batch, and what of it is kept."""

    batch: Batch
    rows: pl.DataFrame
    """The kept rows."""
    hits: pl.DataFrame
    """One Boolean column per keyword: whether each kept row has it."""


class Matcher:
    """Looks for `keywords` in texts, as one of MATCHES (see DataConfig.match)."""

    def __init__(self, keywords: Iterable[str], match: str = "substring") -> None:
        self.keywords = tuple(keywords)
        self._match = match
        assert match in MATCHES, match

    def matched(self, batch: Batch) -> Matched:
        hits = self.hits(batch.rows["content"])
        chosen = kept(hits)
        return Matched(batch, batch.rows.filter(chosen), hits.filter(chosen))

    def hits(self, content: pl.Series) -> pl.DataFrame:
        """One Boolean column per keyword: whether each text has it."""
        import polars as pl

        text = content.rename("text").to_frame()
        # By literal: polars searches it at memory speed, and no keyword is a pattern.
        found = text.select(pl.col("text").str.contains(word, literal=True).alias(word) for word in self.keywords)
        if self._match == "substring":
            return found
        return found.select(self._confirmed(content, found[word]) for word in self.keywords)

    def _confirmed(self, content: pl.Series, found: pl.Series) -> pl.Series:
        """Of the texts that contain the keyword, those that have it as `match` asks."""
        pattern = _identifier(found.name) if self._match == "identifier" else import_pattern(found.name)
        places = found.arg_true()
        if pattern is None or not len(places):
            return found & (pattern is not None)
        return found.scatter(places, content.gather(places).str.contains(pattern))


def kept(hits: pl.DataFrame) -> pl.Series:
    """Which rows have at least one keyword."""
    import polars as pl

    return hits.select(kept=pl.any_horizontal(pl.all())).to_series()


def places(text: str, keyword: str, match: str = "substring") -> Iterator[tuple[int, int]]:
    """Where `text` has `keyword` as `match` asks: start and end of each, in characters, in their order."""
    word = re.escape(keyword)
    if match == "identifier":
        word = rf"(?<!\w){word}(?!\w)"
    elif match == "import":
        # ++ and *+ give nothing back: so it takes linear time, as polars' patterns do.
        word = (
            rf"(?m)^[ \t]*+(?:from|import)[ \t]++(?:[0-9A-Za-z_. ]++,[ \t]*+)*({word})(?![0-9A-Za-z_\x80-\U0010ffff])"
        )
    for found in re.finditer(word, text):
        yield found.span(found.re.groups)


def import_pattern(keyword: str) -> str | None:
    """What a line looks like that imports the module `keyword` or a part of it; None if it names no module.

    A look at lines, not a parser: an import inside a docstring counts. polars' patterns run in linear time.
    """
    if not MODULE_NAME.fullmatch(keyword):
        return None
    # Not \w and \b: their Unicode tables make the search five times slower.
    return rf"(?m)^[ \t]*(?:from|import)[ \t]+(?:[0-9A-Za-z_. ]+,[ \t]*)*{re.escape(keyword)}(?:{NO_NAME}|\z)"


def _identifier(keyword: str) -> str:
    return rf"(?:\A|\W){re.escape(keyword)}(?:\W|\z)"
