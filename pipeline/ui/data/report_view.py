"""Chart data and sentences for a scan's report. Takes the result of `Report.to_dict`; does not depend on Gradio."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.config.schema import COURSE_KEPT_RATE
from pipeline.ui.shared import formats
from pipeline.ui.shared.texts import t

if TYPE_CHECKING:
    from pipeline.data.preview.scan import Scan

DOMINANT_SHARE = 0.3
"""Above this share of the kept files, a warning names the repository: it dominates the figures."""
ROOM = 1.15
"""The rate axis ends at least this factor above its largest value."""
AXIS_ENDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0)
SHORTEST, LONGEST = 64, 2**20
"""Bytes. All shorter files share the first column, all longer ones the last."""
MAX_EXAMPLES = 5
MIN_SECONDS = 1.0
"""Minimum scan time before the remaining time is estimated."""


@dataclass(frozen=True)
class RateAxis:
    """Positions on an axis from 0 to `end`, as shares of its length."""

    end: float
    """The rate at the right end of the axis."""
    rate: float
    low: float
    high: float
    course: float
    words: str
    """The interval compared with the course's rate, as a sentence."""

    @classmethod
    def of(cls, report: dict[str, Any]) -> RateAxis | None:
        """None before the first file was read."""
        if not (interval := report["keep_rate_interval"]):
            return None
        low, high = interval
        end = next((end for end in AXIS_ENDS if end >= ROOM * max(high, COURSE_KEPT_RATE)), 1.0)
        than = "below" if high < COURSE_KEPT_RATE else "above" if low > COURSE_KEPT_RATE else "within"
        digits = 2 if high < 0.1 else 1
        words = t(
            f"data.rate.{than}",
            low=formats.percent(low, digits),
            high=formats.percent(high, digits),
            course=formats.percent(COURSE_KEPT_RATE),
        )
        return cls(end, report["keep_rate"] / end, low / end, high / end, COURSE_KEPT_RATE / end, words)


@dataclass(frozen=True)
class Column:
    """Files of one length class."""

    up_to: int
    """Upper bound of the class, in bytes."""
    is_last: bool
    """Whether the column also counts all longer files."""
    files: int
    kept: int
    share: float
    """Share of all files, 0 to 1."""
    kept_share: float
    """Share of the kept files, 0 to 1."""


def length_columns(report: dict[str, Any]) -> list[Column]:
    """The classes of `lengths` from SHORTEST to LONGEST; files beyond them are in the first and the last one."""
    files, kept = _lengths(report)
    if not files:
        return []
    num_files, num_kept = files.total(), max(1, kept.total())
    last = max(files)
    return [
        Column(up_to, up_to == LONGEST, files[up_to], kept[up_to], files[up_to] / num_files, kept[up_to] / num_kept)
        for up_to in (2**number for number in range(SHORTEST.bit_length() - 1, last.bit_length()))
    ]


def length_words(report: dict[str, Any]) -> str:
    """A sentence with the median length of all files and of the kept ones; empty before a file was kept."""
    files, kept = _lengths(report)
    return (
        t("data.lengths.half", all=formats.binary(_median_class(files)), kept=formats.binary(_median_class(kept)))
        if kept.total()
        else ""
    )


def parts(report: dict[str, Any], match: str, corpus_warnings: Sequence[str] = ()) -> dict[str, Any]:
    """Values that the templates need besides the saved report itself."""
    if not is_known(report):
        return {"is_known": False}
    return {
        "is_known": True,
        "course_rate": COURSE_KEPT_RATE,
        "axis": RateAxis.of(report),
        "warnings": [*corpus_warnings, *warnings(report, limited(report))],
        "is_recount": False,
        "match": match,
        "reasons": bad_rows(report),
        "skipped": report["skipped"],
        "validation_reasons": bad_rows(report["validation"]) if report["validation"] else [],
    }


def is_known(report: dict[str, Any]) -> bool:
    """Whether a saved report has all keys that are shown; one from an earlier version may lack some."""
    from pipeline.data.report.scan_report import Report

    return {*Report([]).to_dict(), "removed", "validation", "max_files", "done"} <= report.keys()


def warnings(report: dict[str, Any], note: str = "") -> list[str]:
    """Warnings about the figures: a dominant repository, and the source's own `note`."""
    return [text for text in (dominance(report), note) if text]


def limited(report: dict[str, Any]) -> str:
    """A sentence saying that `max_files` cuts the corpus; empty when it does not."""
    limit = report["max_files"]
    num_good = report["kept"] - sum(rule["files"] for rule in report["removed"].values())
    return t("report.limited", most=formats.whole(limit)) if limit is not None and num_good >= limit else ""


def dominance(report: dict[str, Any]) -> str:
    """A sentence about a repository with more than DOMINANT_SHARE of the kept files; empty when there is none."""
    if not report["kept"] or not report["repositories"]:
        return ""
    first = report["repositories"][0]
    share = first["files"] / report["kept"]
    if not first["name"] or share <= DOMINANT_SHARE:
        return ""
    if share == 1:
        return t("data.dominant.all", name=first["name"])
    key = "data.dominant.itself" if first["name"] in report["keywords"] else "data.dominant"
    return t(key, share=formats.percent(share, 0), name=first["name"])


def num_rows(report: dict[str, Any]) -> int:
    """Rows that were read, bad rows included: what a limit counts."""
    return report["scanned"] + sum(report["bad_rows"].values())


def share_done(scan: Scan, limit: int) -> float:
    """Share of the source or of the row limit that was read, whichever is larger; 0 to 1."""
    return min(1.0, max(scan.progress or 0.0, num_rows(scan.report) / limit if limit else 0.0))


def seconds_left(scan: Scan, limit: int) -> float | None:
    """Remaining seconds at the throughput so far; None while that is unknown."""
    share, seconds = share_done(scan, limit), scan.report["seconds"]
    return seconds * (1 - share) / share if share and seconds >= MIN_SECONDS else None


def ended(scan: Scan) -> str:
    """A sentence naming the limit that ended the scan early; empty when none did."""
    if scan.ended is None:
        return ""
    limit = (formats.duration if scan.ended.by == "seconds" else formats.size)(scan.ended.limit)
    if rows := num_rows(scan.report):
        return t(f"data.ended.{scan.ended.by}", most=limit, rows=formats.whole(rows))
    return t("data.ended.none", most=limit)


def bad_rows(report: dict[str, Any]) -> list[tuple[str, int, list[str]]]:
    """Reason, number of rows and up to MAX_EXAMPLES locations of each kind of bad row, most frequent first."""
    return [
        (reason, files, [row["where"] for row in report["bad_examples"] if row["reason"] == reason][:MAX_EXAMPLES])
        for reason, files in report["bad_rows"].items()
    ]


def _lengths(report: dict[str, Any]) -> tuple[Counter[int], Counter[int]]:
    """Numbers of all files and of the kept ones, by class."""
    files: Counter[int] = Counter()
    kept: Counter[int] = Counter()
    for row in report["lengths"]:
        up_to = min(max(row["up_to"], SHORTEST), LONGEST)
        files[up_to] += row["files"]
        kept[up_to] += row["kept"]
    return files, kept


def _median_class(counts: Counter[int]) -> int:
    """The length class of the median file."""
    remaining: float = counts.total() / 2
    for up_to in sorted(counts):
        remaining -= counts[up_to]
        if remaining <= 0:
            return up_to
    raise AssertionError("no files")
