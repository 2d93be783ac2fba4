"""Quality rules that decide which kept files are good code. Each file is judged on its own, a column of texts at once.

The rules and their order are those of CodeParrot, the course's bigger sibling. CodeParrot's two random draws are hashes
here, so that the result for a file is the same in every scan and every process. A line ends with LF, CRLF or CR.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipeline.config.quality import QualityConfig
from pipeline.data.filter.split import place_of

if TYPE_CHECKING:
    import polars as pl

GENERATED = "auto-generated"
LONG_LINE = "a long line"
LONG_LINES = "long lines on average"
FEW_ALPHANUMERIC = "few letters and digits"
TEST = "test or configuration"
NO_KEYWORD = "no def, class, for or while"
FEW_ASSIGNMENTS = "few assignments"

HEAD = r"\A(?:[^\n]*\n){0,4}[^\n]*"
"""Matches from the start of a text to any position in its first 5 lines."""
SAYS_GENERATED = HEAD + r"(?i-u:auto[-_ ]?generated|automatically[-_ ]generated)"
SAYS_TEST = HEAD + r"(?i-u:unit tests|test file|configuration file)"
TEST_LINES = 20
"""A file that contains `test`, or `config`, more than once per so many lines counts as test or configuration."""
KEYWORDS = ["def ", "class ", "for ", "while "]
ASCII = bytes(range(128))


def reasons(rows: pl.DataFrame, config: QualityConfig) -> pl.Series:
    """For each of `rows` (the course's columns) the first rule that removes it; null if it stays.

    The limit of characters per token is not checked here, but when the tokens are written.
    """
    import polars as pl

    names = [pl.when(rule).then(pl.lit(name)) for name, rule in _rules(rows, config)]
    nothing = pl.repeat(None, pl.len(), dtype=pl.String)
    return _with_unix_lines(rows).select(reason=pl.coalesce([*names, nothing])).to_series()


def _rules(rows: pl.DataFrame, config: QualityConfig) -> Iterator[tuple[str, pl.Expr]]:
    """The rules that `config` enables: name, and whether a text with LF line ends is removed."""
    import polars as pl

    text = pl.col("content")
    if config.drop_generated:
        yield GENERATED, text.str.contains(SAYS_GENERATED)
    if config.max_line_length is not None:
        yield LONG_LINE, _longest_line(text) > config.max_line_length
    if config.max_mean_line_length is not None:
        yield LONG_LINES, _mean_line(text) > config.max_mean_line_length
    if config.min_alphanumeric_share is not None:
        yield FEW_ALPHANUMERIC, _alphanumeric_share(text) < config.min_alphanumeric_share
    if config.test_drop_share:
        yield TEST, _is_test(text) & _drawn(rows, config.test_drop_share, b"tests")
    if config.no_keyword_drop_share:
        has_keyword = text.str.contains_any(KEYWORDS, ascii_case_insensitive=True)
        yield NO_KEYWORD, ~has_keyword & _drawn(rows, config.no_keyword_drop_share, b"keywords")
    if config.min_assignments is not None:
        yield FEW_ASSIGNMENTS, text.str.count_matches("=", literal=True) < config.min_assignments


def _with_unix_lines(rows: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    if not rows["content"].str.contains("\r", literal=True).any():
        return rows
    return rows.with_columns(pl.col("content").str.replace_all("\r\n?", "\n"))


def _longest_line(text: pl.Expr) -> pl.Expr:
    import polars as pl

    return text.str.split("\n").list.eval(pl.element().str.len_chars()).list.max()


def _mean_line(text: pl.Expr) -> pl.Expr:
    """Characters per line; the text after the last line end is a line only if it is not empty."""
    import polars as pl

    num_ends = text.str.count_matches("\n", literal=True)
    num_lines = num_ends + ~(text.str.ends_with("\n") | (text == ""))
    return (text.str.len_chars() - num_ends) / pl.max_horizontal(num_lines, 1)


def _alphanumeric_share(text: pl.Expr) -> pl.Expr:
    """Share of characters that are letters or digits of any script; 0 for an empty text."""
    import polars as pl

    count = text.map_batches(_count_alphanumeric, return_dtype=pl.Int64)
    return count / pl.max_horizontal(text.str.len_chars(), 1)


def _count_alphanumeric(texts: pl.Series) -> pl.Series:
    import polars as pl

    return pl.Series([_num_alphanumeric(text) for text in texts.cast(pl.Binary)], dtype=pl.Int64)


def _num_alphanumeric(text: bytes) -> int:
    """As `sum(map(str.isalnum, text))`, but ASCII bytes are compared all at once."""
    import numpy as np

    codes = np.frombuffer(text, np.uint8)
    # Values below the range wrap around to the top of uint8, so that one comparison is enough.
    num_letters = int(np.count_nonzero((codes | 0x20) - np.uint8(ord("a")) < 26))
    num_digits = int(np.count_nonzero(codes - np.uint8(ord("0")) < 10))
    if text.isascii():
        return num_letters + num_digits
    return num_letters + num_digits + sum(map(str.isalnum, text.translate(None, ASCII).decode()))


def _is_test(text: pl.Expr) -> pl.Expr:
    limit = text.str.count_matches("\n", literal=True) // TEST_LINES
    is_often = [text.str.count_matches(f"(?i-u){word}") > limit for word in ("config", "test")]
    return text.str.contains(SAYS_TEST) | is_often[0] | is_often[1]


def _drawn(rows: pl.DataFrame, share: float, hash_key: bytes) -> pl.Expr:
    """Whether each row is drawn into the `share` of all rows, by a hash of its repository, path and text.

    Draws with different values of `hash_key` are independent.
    """
    import polars as pl

    files = rows.select("repo_name", "path", "content").iter_rows()
    draws = [place_of(*file, hash_key=hash_key) for file in files]
    return pl.lit(pl.Series(draws, dtype=pl.Float64) < share)
