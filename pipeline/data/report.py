"""What a scan found, as numbers that go into JSON: rates, overlaps, bad rows, where the kept files are from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pipeline.data.matching import count_imports, kept
from pipeline.data.sources.batch import BadRow, Batch

if TYPE_CHECKING:
    import polars as pl

MAX_BAD_EXAMPLES = 20
MAX_NAMES = 20
"""Repositories, licences and overlaps that are listed, the largest first."""


class Report:
    """Sums up batches. Whoever drives the scan adds to `seconds`, so that waiting for a viewer does not count."""

    def __init__(self, keywords: Iterable[str]) -> None:
        self.keywords = tuple(dict.fromkeys(keywords))
        self.scanned = 0
        self.kept = 0
        self.num_bad = 0
        self.seconds = 0.0
        self._num_bytes = 0
        self._kept_bytes = 0
        self._num_skipped = 0
        self._bad: Counter[str] = Counter()
        self._bad_examples: list[BadRow] = []
        self._files = dict.fromkeys(self.keywords, 0)
        self._imported: dict[str, int | None] = dict.fromkeys(self.keywords, 0)
        self._repositories: Counter[str] = Counter()
        self._licenses: Counter[str] = Counter()
        self._overlap: Counter[int] = Counter()

    def add(self, batch: Batch, hits: pl.DataFrame) -> None:
        """Count `batch`; `hits` is what Matcher says of its content."""
        self.scanned += len(batch.rows)
        self._num_bytes += batch.num_bytes
        self._num_skipped += batch.num_skipped
        self._add_bad(batch.bad)
        chosen = kept(hits)
        rows = batch.rows.filter(chosen)
        if len(rows):
            self._add_kept(rows, hits.filter(chosen))

    def to_dict(self) -> dict[str, Any]:
        """Only what JSON can hold. `scanned` are the rows that could be read; `seconds` are of reading and matching."""
        return {
            "scanned": self.scanned,
            "kept": self.kept,
            "keep_rate": self._rate(self.kept),
            "keywords": {word: self._keyword(word) for word in self.keywords},
            "overlap": [{"keywords": self._words(mask), "files": files} for mask, files in _largest(self._overlap)],
            "bad_rows": dict(_largest(self._bad)),
            "bad_examples": [{"reason": row.reason, "where": row.where} for row in self._bad_examples],
            "skipped": self._num_skipped,
            "bytes": self._num_bytes,
            "kept_bytes": self._kept_bytes,
            "seconds": round(self.seconds, 3),
            "bytes_per_second": round(self._num_bytes / self.seconds) if self.seconds else None,
            "repositories": [{"name": name, "files": files} for name, files in _largest(self._repositories)],
            "licenses": [{"name": name, "files": files} for name, files in _largest(self._licenses)],
        }

    def _add_bad(self, rows: tuple[BadRow, ...]) -> None:
        self.num_bad += len(rows)
        self._bad.update(row.reason for row in rows)
        self._bad_examples += rows[: MAX_BAD_EXAMPLES - len(self._bad_examples)]

    def _add_kept(self, rows: pl.DataFrame, hits: pl.DataFrame) -> None:
        import polars as pl

        self.kept += len(rows)
        self._kept_bytes += int(rows["content"].str.len_bytes().sum())
        self._repositories.update(rows["repo_name"].to_list())
        self._licenses.update(rows["license"].to_list())
        masks = pl.repeat(0, len(rows), dtype=pl.UInt64, eager=True)
        for number, hit in enumerate(hits.iter_columns()):
            self._files[hit.name] += int(hit.sum())
            masks += hit.cast(pl.UInt64) * 2**number
            if (imports := count_imports(rows["content"].filter(hit), hit.name)) is None:
                self._imported[hit.name] = None
            else:
                self._imported[hit.name] = (self._imported[hit.name] or 0) + imports
        self._overlap.update(masks.to_list())

    def _keyword(self, word: str) -> dict[str, Any]:
        files, imported = self._files[word], self._imported[word]
        mentioned = None if imported is None else files - imported
        return {"files": files, "rate": self._rate(files), "imported": imported, "mentioned": mentioned}

    def _words(self, mask: int) -> list[str]:
        return [word for number, word in enumerate(self.keywords) if mask >> number & 1]

    def _rate(self, files: int) -> float:
        return files / self.scanned if self.scanned else 0.0


def _largest(counts: Counter[Any]) -> list[tuple[Any, int]]:
    """The commonest first; those that are equally common by name, so that a report does not depend on the order read."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MAX_NAMES]
