"""What is drawn of a scan's report, and said of it in words. Works on `Report.to_dict`; knows nothing of Gradio."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.config.schema import COURSE_KEPT_RATE
from pipeline.ui.shared import formats
from pipeline.ui.shared.texts import t

if TYPE_CHECKING:
    from pipeline.data.preview.scan import Scan

DOMINANT_SHARE = 0.3
"""A repository with more of the kept files than this speaks for all of them."""
ROOM = 1.15
"""The axis of the rate reaches a little further than what is on it."""
AXIS_ENDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0)
SHORTEST, LONGEST = 64, 2**20
"""Bytes. Files shorter or longer than these are drawn in one column."""
MOST_EXAMPLES = 5
LEAST_SECONDS = 1.0
"""Before that, nobody can say how long a scan will take."""


@dataclass(frozen=True)
class RateAxis:
    """Places on a line from 0 to `end`, as shares of its length."""

    end: float
    """The rate at its right end."""
    rate: float
    low: float
    high: float
    course: float
    words: str
    """The same as a sentence."""

    @classmethod
    def of(cls, report: dict[str, Any]) -> RateAxis | None:
        """None before a file was read."""
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
    """Files of one class of length."""

    up_to: int
    """Bytes."""
    is_last: bool
    """Whether it holds all the longer ones too."""
    files: int
    kept: int
    share: float
    """Of all files."""
    kept_share: float
    """Of the kept ones."""


def length_columns(report: dict[str, Any]) -> list[Column]:
    """The classes of `lengths` from SHORTEST to LONGEST, with the rest in the first and the last one."""
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
    """How long half of the files are, and half of the kept ones; empty before one was kept."""
    files, kept = _lengths(report)
    return (
        t("data.lengths.half", all=formats.binary(_half(files)), kept=formats.binary(_half(kept)))
        if kept.total()
        else ""
    )


def parts(report: dict[str, Any], match: str) -> dict[str, Any]:
    """What the templates of a saved report's parts need beside it."""
    if not is_known(report):
        return {"is_known": False}
    return {
        "is_known": True,
        "course_rate": COURSE_KEPT_RATE,
        "axis": RateAxis.of(report),
        "warnings": warnings(report, limited(report)),
        "is_recount": False,
        "match": match,
        "reasons": bad_rows(report),
        "skipped": report["skipped"],
        "validation_reasons": bad_rows(report["validation"]) if report["validation"] else [],
    }


def is_known(report: dict[str, Any]) -> bool:
    """Whether a saved report has everything that is shown: one of an earlier version may not."""
    from pipeline.data.report.scan_report import Report

    return {*Report([]).to_dict(), "removed", "validation", "max_files", "done"} <= report.keys()


def warnings(report: dict[str, Any], note: str = "") -> list[str]:
    """What the numbers hide: a repository that speaks for all, and what the source says of itself."""
    return [text for text in (dominance(report), note) if text]


def limited(report: dict[str, Any]) -> str:
    """A sentence about a limit that a corpus of this source meets; empty when there is none."""
    most = report["max_files"]
    good = report["kept"] - sum(rule["files"] for rule in report["removed"].values())
    return t("report.limited", most=formats.whole(most)) if most is not None and good >= most else ""


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
    """Rows that were read, bad ones counted, as a limit counts them."""
    return report["scanned"] + sum(report["bad_rows"].values())


def share_done(scan: Scan, limit: int) -> float:
    """Of the source or of the limit, whichever comes first; 0 to 1."""
    return min(1.0, max(scan.progress or 0.0, num_rows(scan.report) / limit if limit else 0.0))


def seconds_left(scan: Scan, limit: int) -> float | None:
    """By the pace so far; None while that is not known."""
    share, seconds = share_done(scan, limit), scan.report["seconds"]
    return seconds * (1 - share) / share if share and seconds >= LEAST_SECONDS else None


def ended(scan: Scan) -> str:
    """Why it ended before what was asked of it was read; empty when no limit ended it."""
    if scan.ended is None:
        return ""
    most = (formats.duration if scan.ended.by == "seconds" else formats.size)(scan.ended.most)
    if rows := num_rows(scan.report):
        return t(f"data.ended.{scan.ended.by}", most=most, rows=formats.whole(rows))
    return t("data.ended.none", most=most)


def bad_rows(report: dict[str, Any]) -> list[tuple[str, int, list[str]]]:
    """Reason, rows and some places, the commonest first."""
    return [
        (reason, files, [row["where"] for row in report["bad_examples"] if row["reason"] == reason][:MOST_EXAMPLES])
        for reason, files in report["bad_rows"].items()
    ]


def _lengths(report: dict[str, Any]) -> tuple[Counter[int], Counter[int]]:
    """All files and the kept ones, by class."""
    files: Counter[int] = Counter()
    kept: Counter[int] = Counter()
    for row in report["lengths"]:
        up_to = min(max(row["up_to"], SHORTEST), LONGEST)
        files[up_to] += row["files"]
        kept[up_to] += row["kept"]
    return files, kept


def _half(counts: Counter[int]) -> int:
    """The class up to which half of the files are."""
    left: float = counts.total() / 2
    for up_to in sorted(counts):
        left -= counts[up_to]
        if left <= 0:
            return up_to
    raise AssertionError("no files")
