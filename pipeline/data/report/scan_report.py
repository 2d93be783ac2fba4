"""Results of a scan as JSON-serializable numbers: rates, overlaps, bad rows, origin of the kept files.

The merged reports of the parts of a source equal the report of the whole source.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from itertools import combinations
from typing import TYPE_CHECKING, Any

from pipeline.data.filter.matching import Matched, import_pattern, places
from pipeline.data.report.licences import licence_id
from pipeline.data.sources.base import BadRow

if TYPE_CHECKING:
    import polars as pl

MAX_BAD_EXAMPLES = 20
MAX_NAMES = 20
"""Maximum length of the lists of repositories, licences, overlaps and so on; the largest come first."""
NUM_LENGTHS = 25
"""Number of classes of file length: up to 1 byte, up to 2, up to 4, ..., up to 16 MB."""
NORMAL_95 = 1.959964
"""Standard deviations around the mean that contain 95 % of a normal distribution."""

COUNTS = ("scanned", "kept", "num_bad", "num_bytes", "kept_bytes", "num_skipped")
COUNTERS = ("bad", "repositories", "licenses", "lengths", "kept_lengths")
NUMBERED = ("lengths", "kept_lengths")


class Report:
    """Sums up batches. The caller adds to `seconds`, so that time spent waiting for a viewer does not count."""

    def __init__(self, keywords: Iterable[str]) -> None:
        self.keywords = tuple(dict.fromkeys(keywords))
        self.scanned = self.kept = self.num_bad = 0
        self.num_bytes = self.kept_bytes = self.num_skipped = 0
        self.seconds = 0.0
        self.bad: Counter[str] = Counter()
        self.bad_examples: list[BadRow] = []
        self.files: Counter[str] = Counter()
        self.imported: Counter[str] = Counter()
        self.first_lines: dict[str, Counter[int]] = {word: Counter() for word in self.keywords}
        """Per keyword: number of files by the line, counted from 1, that first contains it."""
        self.repositories: Counter[str] = Counter()
        self.licenses: Counter[str] = Counter()
        self.overlap: Counter[int] = Counter()
        """Number of kept files by their set of keywords, as a bit mask: bit n is keyword n."""
        self.lengths: Counter[int] = Counter()
        """Number of files by class of length: class n is up to 2**n bytes."""
        self.kept_lengths: Counter[int] = Counter()

    def add(self, matched: Matched) -> None:
        """Count a batch and its kept rows."""
        batch = matched.batch
        self.scanned += len(batch.rows)
        self.num_bytes += batch.num_bytes
        self.num_skipped += batch.num_skipped
        self.num_bad += len(batch.bad)
        self.bad.update(row.reason for row in batch.bad)
        self.bad_examples += batch.bad[: MAX_BAD_EXAMPLES - len(self.bad_examples)]
        self.lengths.update(_classes(batch.rows["content"].str.len_bytes()))
        if len(matched.rows):
            self._add_kept(matched)

    def merge(self, other: Report) -> None:
        """Add the report of a later part of the source."""
        assert self.keywords == other.keywords
        for name in COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in (*COUNTERS, "files", "imported", "overlap"):
            getattr(self, name).update(getattr(other, name))
        for word, lines in other.first_lines.items():
            self.first_lines[word].update(lines)
        self.bad_examples += other.bad_examples[: MAX_BAD_EXAMPLES - len(self.bad_examples)]
        self.seconds += other.seconds

    def to_dict(self) -> dict[str, Any]:
        """For display. `scanned` counts the rows that could be read; `seconds` is the time of reading and matching."""
        return {
            "scanned": self.scanned,
            "kept": self.kept,
            "keep_rate": self._rate(self.kept),
            "keep_rate_interval": interval(self.kept, self.scanned),
            "keywords": {word: self._keyword(word) for word in self.keywords},
            "overlap": [{"keywords": self._words(mask), "files": files} for mask, files in _largest(self.overlap)],
            "together": self._together(),
            "bad_rows": dict(_largest(self.bad)),
            "bad_examples": [{"reason": row.reason, "where": row.where} for row in self.bad_examples],
            "skipped": self.num_skipped,
            "bytes": self.num_bytes,
            "kept_bytes": self.kept_bytes,
            "seconds": round(self.seconds, 3),
            "bytes_per_second": round(self.num_bytes / self.seconds) if self.seconds else None,
            "repositories": [{"name": name, "files": files} for name, files in _largest(self.repositories)],
            "licenses": [{"name": name, "files": files} for name, files in _largest(self.licenses)],
            "lengths": self._lengths(),
        }

    def state(self) -> dict[str, Any]:
        """All counts as JSON-serializable data; `from_state` restores them."""
        return {
            "keywords": list(self.keywords),
            **{name: getattr(self, name) for name in COUNTS},
            **{name: dict(getattr(self, name)) for name in (*COUNTERS, "files", "imported", "overlap")},
            "first_lines": {word: dict(lines) for word, lines in self.first_lines.items()},
            "bad_examples": [[row.reason, row.where] for row in self.bad_examples],
            "seconds": self.seconds,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Report:
        report = cls(state["keywords"])
        for name in (*COUNTS, "seconds"):
            setattr(report, name, state[name])
        for name in (*COUNTERS, "files", "imported", "overlap"):
            numbered = name in (*NUMBERED, "overlap")
            getattr(report, name).update({int(k) if numbered else k: v for k, v in state[name].items()})
        for word, lines in state["first_lines"].items():
            report.first_lines[word].update({int(line): files for line, files in lines.items()})
        report.bad_examples = [BadRow(*row) for row in state["bad_examples"]]
        return report

    def _add_kept(self, matched: Matched) -> None:
        rows, hits = matched.rows, matched.hits
        sizes = rows["content"].str.len_bytes()
        self.kept += len(rows)
        self.kept_bytes += int(sizes.sum())
        self.kept_lengths.update(_classes(sizes))
        self.repositories.update(rows["repo_name"].to_list())
        self.licenses.update(map(licence_id, rows["license"].to_list()))
        found = _facts(rows["content"], hits, matched.match)
        self.overlap.update(found["masks"])
        for number, word in enumerate(self.keywords):
            self.files[word] += len(found[f"lines {number}"])
            self.imported[word] += found[f"imports {number}"]
            self.first_lines[word].update(found[f"lines {number}"])

    def _keyword(self, word: str) -> dict[str, Any]:
        files = self.files[word]
        imported = self.imported[word] if import_pattern(word) else None
        return {
            "files": files,
            "rate": self._rate(files),
            "imported": imported,
            "mentioned": None if imported is None else files - imported,
            "first_line": _median(self.first_lines[word]),
        }

    def _together(self) -> list[dict[str, Any]]:
        """Pairs of keywords found in the same file, the most frequent first."""
        pairs: Counter[tuple[str, str]] = Counter()
        for mask, files in self.overlap.items():
            for one, two in combinations(self._words(mask), 2):
                pairs[one, two] += files
        return [{"keywords": list(pair), "files": files} for pair, files in _largest(pairs)]

    def _lengths(self) -> list[dict[str, Any]]:
        """Classes of length from the shortest to the longest that contains a file."""
        used = sorted(self.lengths)
        return [
            {"up_to": 2**number, "files": self.lengths[number], "kept": self.kept_lengths[number]}
            for number in range(used[0] if used else 0, used[-1] + 1 if used else 0)
        ]

    def _words(self, mask: int) -> list[str]:
        return [word for number, word in enumerate(self.keywords) if mask >> number & 1]

    def _rate(self, files: int) -> float:
        return files / self.scanned if self.scanned else 0.0


def interval(hits: int, tries: int) -> list[float] | None:
    """95 % confidence interval of the true rate (Wilson 1927), if the tries are a fair sample; None without tries."""
    if not tries:
        return None
    rate, z2 = hits / tries, NORMAL_95**2
    centre = rate + z2 / (2 * tries)
    spread = NORMAL_95 * math.sqrt(rate * (1 - rate) / tries + z2 / (4 * tries**2))
    return [max(0.0, (centre - spread) / (1 + z2 / tries)), min(1.0, (centre + spread) / (1 + z2 / tries))]


def _facts(content: pl.Series, hits: pl.DataFrame, match: str) -> dict[str, Any]:
    """Facts about kept texts: `masks`, the set of keywords of each; and for keyword n, over the texts that have it,
    `lines n`, the line of its first occurrence, and `imports n`, how many import it. One polars query computes all but
    the lines, because each query costs as much as a megabyte of text.
    """
    import polars as pl

    text = pl.col("text")
    expressions = [
        pl.sum_horizontal(pl.col(str(n)).cast(pl.UInt64) * 2**n for n in range(hits.width)).implode().alias("masks")
    ]
    for number, word in enumerate(hits.columns):
        pattern = import_pattern(word)
        imports = text.filter(pl.col(str(number))).str.contains(pattern).sum() if pattern else pl.lit(0)
        expressions.append(imports.alias(f"imports {number}"))
    numbered = hits.rename({word: str(number) for number, word in enumerate(hits.columns)})
    found = numbered.with_columns(content.alias("text")).select(expressions).row(0, named=True)
    # Not in polars, which would copy all text before the keyword.
    texts = content.to_list()
    for number, word in enumerate(hits.columns):
        having = [text for text, mask in zip(texts, found["masks"], strict=True) if mask >> number & 1]
        found[f"lines {number}"] = [text.count("\n", 0, _start(text, word, match)) + 1 for text in having]
    return found


def _start(text: str, word: str, match: str) -> int:
    """Where `text` first matches `word`; 0 if nowhere, should the patterns of polars and Python ever differ."""
    return text.find(word) if match == "substring" else next(places(text, word, match), (0, 0))[0]


def _classes(sizes: pl.Series) -> Counter[int]:
    """Number of files by the smallest n with size <= 2**n."""
    import numpy as np

    if not len(sizes):
        return Counter()
    # frexp is exact where a logarithm would round: size - 1 has n binary digits.
    _, digits = np.frexp(np.maximum(sizes.to_numpy().astype(np.int64) - 1, 0).astype(np.float64))
    numbers, counts = np.unique(np.minimum(digits, NUM_LENGTHS - 1), return_counts=True)
    return Counter(dict(zip(numbers.tolist(), counts.tolist(), strict=True)))


def _median(counts: Counter[int]) -> int | None:
    """The lower median."""
    left = (counts.total() + 1) // 2
    for value in sorted(counts):
        left -= counts[value]
        if left <= 0:
            return value
    return None


def _largest(counts: Counter[Any]) -> list[tuple[Any, int]]:
    """At most MAX_NAMES, the most frequent first. Ties are sorted by name, so that reading order does not matter."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MAX_NAMES]
