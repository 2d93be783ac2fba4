"""Settings of the quality rules that kept files must pass. Every rule is off by default.

The rules are implemented in pipeline/data/filter/quality.py (one file at a time) and duplicates.py (files compared
with one another).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from pipeline.config.parsing import convert_fields, parsed
from pipeline.core.errors import require


@dataclass(frozen=True, kw_only=True)
class QualityConfig:
    """Rules that remove kept files. None, 0 or False turns a rule off. All values are plain JSON."""

    drop_generated: bool = False
    """Drop a file whose first 5 lines say that it is auto-generated."""
    max_line_length: int | None = None
    """Drop a file with a longer line, in characters."""
    max_mean_line_length: float | None = None
    """Drop a file with a longer mean line length, in characters without line ends."""
    min_alphanumeric_share: float | None = None
    """Drop a file with a smaller share of letters and digits among its characters."""
    min_characters_per_token: float | None = None
    """Drop a file with fewer characters per token; applied when the files are tokenized."""
    test_drop_share: float = 0.0
    """Fraction of the test and configuration files to drop, chosen by a hash of repository and path."""
    no_keyword_drop_share: float = 0.0
    """Fraction of the files without def, class, for and while to drop, chosen in the same way."""
    min_assignments: int | None = None
    """Drop a file with fewer `=` characters, counted anywhere in its text."""
    drop_exact_duplicates: bool = False
    """Drop a file whose text, ignoring white space, equals that of a file already kept."""
    near_duplicate_jaccard: float | None = None
    """Drop a file whose set of words has at least this Jaccard similarity to that of a file already kept."""

    @property
    def is_none(self) -> bool:
        """Whether no rule removes any file."""
        return self == NO_RULES

    @property
    def compares(self) -> bool:
        """Whether a rule compares files with one another."""
        return self.drop_exact_duplicates or self.near_duplicate_jaccard is not None

    def __post_init__(self) -> None:
        convert_fields(self)
        length, mean = self.max_line_length, self.max_mean_line_length
        require(length is None or length >= 1, "max_line_length", length, "set 1 character or more")
        require(mean is None or mean >= 1, "max_mean_line_length", mean, "set 1 character or more")
        share = self.min_alphanumeric_share
        require(share is None or 0 < share <= 1, "min_alphanumeric_share", share, "set it above 0 and at most 1")
        ratio = self.min_characters_per_token
        require(ratio is None or 0 < ratio <= 100, "min_characters_per_token", ratio, "set it above 0 and at most 100")
        for name in ("test_drop_share", "no_keyword_drop_share"):
            require(0 <= getattr(self, name) <= 1, name, getattr(self, name), "set 0 to 1")
        count = self.min_assignments
        require(count is None or 1 <= count <= 1_000_000, "min_assignments", count, "set 1 to 1000000")
        jaccard = self.near_duplicate_jaccard
        require(jaccard is None or 0.5 <= jaccard <= 1, "near_duplicate_jaccard", jaccard, "set 0.5 to 1")

    @classmethod
    def as_codeparrot(cls) -> QualityConfig:
        """The values of CodeParrot's own scripts, including both kinds of duplicates.

        Its function for assignments is documented as "less than 4" but drops 4 as well, hence `min_assignments=5`.
        """
        return cls(
            drop_generated=True,
            max_line_length=1_000,
            max_mean_line_length=100,
            min_alphanumeric_share=0.25,
            min_characters_per_token=1.5,
            test_drop_share=0.7,
            no_keyword_drop_share=0.7,
            min_assignments=5,
            drop_exact_duplicates=True,
            near_duplicate_jaccard=0.85,
        )


NO_RULES = QualityConfig()
"""No rule: every kept file stays, as in the course."""


def quality_config(changes: dict[str, Any], *, as_codeparrot: bool) -> QualityConfig:
    """The rules in `changes`, as values or as text; with `as_codeparrot` they override CodeParrot's, else NO_RULES.

    Raises InputError for an unknown rule or a value out of range.
    """
    start = QualityConfig.as_codeparrot() if as_codeparrot else NO_RULES
    return replace(start, **parsed(changes, QualityConfig))
