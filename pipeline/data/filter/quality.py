"""Which kept files are good code, judged one file at a time, a column of texts at once.

The rules and their order are those of CodeParrot, the course's bigger sibling; its two random draws are a hash here,
so that a file's fate is the same on every scan and in every process. A line ends with LF, CRLF or CR.
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
"""Up to a place in the first 5 lines."""
SAYS_GENERATED = HEAD + r"(?i-u:auto[-_ ]?generated|automatically[-_ ]generated)"
SAYS_TEST = HEAD + r"(?i-u:unit tests|test file|configuration file)"
TEST_LINES = 20
"""A file that says `test`, or `config`, more often than once in so many lines is one."""
KEYWORDS = ["def ", "class ", "for ", "while "]
ASCII = bytes(range(128))


def reasons(rows: pl.DataFrame, config: QualityConfig) -> pl.Series:
    """For each of `rows` (the course's columns) the first rule that removes it; null where it stays.

    Characters per token are not among the rules: whoever writes the tokens counts them.
    """
    import polars as pl

    names = [pl.when(rule).then(pl.lit(name)) for name, rule in _rules(rows, config)]
    nothing = pl.repeat(None, pl.len(), dtype=pl.String)
    return _with_unix_lines(rows).select(reason=pl.coalesce([*names, nothing])).to_series()


def _rules(rows: pl.DataFrame, config: QualityConfig) -> Iterator[tuple[str, pl.Expr]]:
    """The rules that `config` asks for: name, and whether a text with LF line ends is removed."""
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
    """Characters per line; what follows the last line end is a line only if there is something."""
    import polars as pl

    num_ends = text.str.count_matches("\n", literal=True)
    num_lines = num_ends + ~(text.str.ends_with("\n") | (text == ""))
    return (text.str.len_chars() - num_ends) / pl.max_horizontal(num_lines, 1)


def _alphanumeric_share(text: pl.Expr) -> pl.Expr:
    """Letters and digits of any script, per character; 0 of an empty text."""
    import polars as pl

    count = text.map_batches(_count_alphanumeric, return_dtype=pl.Int64)
    return count / pl.max_horizontal(text.str.len_chars(), 1)


def _count_alphanumeric(texts: pl.Series) -> pl.Series:
    import polars as pl

    return pl.Series([_num_alphanumeric(text) for text in texts.cast(pl.Binary)], dtype=pl.Int64)


def _num_alphanumeric(text: bytes) -> int:
    """As `sum(map(str.isalnum, text))`, but bytes are compared all at once."""
    import numpy as np

    codes = np.frombuffer(text, np.uint8)
    # What is below the range wraps round to the top of uint8, so that one comparison does.
    num_letters = int(np.count_nonzero((codes | 0x20) - np.uint8(ord("a")) < 26))
    num_digits = int(np.count_nonzero(codes - np.uint8(ord("0")) < 10))
    if text.isascii():
        return num_letters + num_digits
    return num_letters + num_digits + sum(map(str.isalnum, text.translate(None, ASCII).decode()))


def _is_test(text: pl.Expr) -> pl.Expr:
    most = text.str.count_matches("\n", literal=True) // TEST_LINES
    is_often = [text.str.count_matches(f"(?i-u){word}") > most for word in ("config", "test")]
    return text.str.contains(SAYS_TEST) | is_often[0] | is_often[1]


def _drawn(rows: pl.DataFrame, share: float, draw: bytes) -> pl.Expr:
    """Whether a row is among the `share` of all that `draw` hits: by its names, else by its text."""
    import polars as pl

    text = pl.when(pl.col("path") == "").then("content").otherwise(pl.lit(""))
    names = rows.select("repo_name", "path", text.alias("content")).iter_rows()
    places = [place_of(repo_name, path, content, draw=draw) for repo_name, path, content in names]
    return pl.lit(pl.Series(places, dtype=pl.Float64) < share)
