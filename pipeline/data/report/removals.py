"""What the quality rules removed, as JSON-serializable data: files, bytes and a few examples per rule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

MAX_EXAMPLES = 5


class Removed:
    """Counts per rule. The counts of several parts, merged in the source's order, equal those of the whole source."""

    def __init__(self) -> None:
        self._rules: dict[str, dict[str, Any]] = {}

    @classmethod
    def from_dict(cls, value: dict[str, dict[str, Any]]) -> Removed:
        """Inverse of `to_dict`."""
        removed = cls()
        for rule, found in value.items():
            removed._count(rule, found["files"], found["bytes"], found["examples"])
        return removed

    @property
    def num_files(self) -> int:
        return sum(found["files"] for found in self._rules.values())

    def add(self, rows: pl.DataFrame, reasons: pl.Series, of: Sequence[str | None] | None = None) -> None:
        """Count those of `rows` that have a reason. `of`: for each row, the name of the file that it duplicates."""
        import polars as pl

        sizes = rows["content"].str.len_bytes()
        for (rule,), group in pl.DataFrame({"rule": reasons, "size": sizes}).with_row_index().group_by("rule"):
            if rule is not None:
                first = group["index"].head(MAX_EXAMPLES).to_list()
                examples = [_example(rows, row, of[row] if of else None) for row in first]
                self._count(str(rule), len(group), int(group["size"].sum()), examples)

    def merge(self, other: Removed) -> None:
        """Add the counts of `other`, whose files come later in the source."""
        for rule, found in other._rules.items():
            self._count(rule, found["files"], found["bytes"], found["examples"])

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """JSON-serializable: for each rule, sorted by name, `files`, `bytes` of text, and `examples`."""
        return {
            rule: {**found, "examples": [dict(example) for example in found["examples"]]}
            for rule, found in sorted(self._rules.items())
        }

    def _count(self, rule: str, num_files: int, num_bytes: int, examples: list[dict[str, str]]) -> None:
        found = self._rules.setdefault(rule, {"files": 0, "bytes": 0, "examples": []})
        found["files"] += num_files
        found["bytes"] += num_bytes
        found["examples"] += examples[: MAX_EXAMPLES - len(found["examples"])]


def _example(rows: pl.DataFrame, row: int, of: str | None) -> dict[str, str]:
    names = {"repo_name": rows["repo_name"][row], "path": rows["path"][row]}
    return names if of is None else {**names, "of": of}
