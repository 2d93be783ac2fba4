"""A look at a source while it goes on: every fraction of a second what was found so far.

Nothing is written. The same rows in the same order as `prepare` sees them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

from pipeline.data.filter.matching import Matched, Matcher, kept
from pipeline.data.report.samples import Sample, Samples
from pipeline.data.report.scan_report import Report
from pipeline.data.sources import Piece, Shard, Source
from pipeline.data.sources.shard import SourceSize, extent_of, in_threads, pieces_of

SHOW_EVERY_SECONDS = 0.3


@dataclass(frozen=True)
class Ended:
    """Which limit ended a scan before its source, or what was asked of it, did."""

    by: str
    """`seconds` or `bytes`."""
    most: float
    """As many as it may take of them."""


@dataclass(frozen=True)
class Scan:
    """What a scan has found by now."""

    report: dict[str, Any]
    """As Report.to_dict."""
    samples: list[Sample]
    done: bool
    """Whether the source, or what was asked of it, has been read to its end."""
    progress: float | None = None
    """Share of the source that was read, 0 to 1; None when nobody knows."""
    extent: SourceSize | None = None
    """How large the source is, as far as that is known before it is read."""
    num_remembered: int = 0
    """Rows that came from memory, bad ones counted."""
    source: str = ""
    """What it looks at, as `open_source` names it."""
    note: str = ""
    """What its numbers do not show, for people."""
    match: str = "substring"
    ended: Ended | None = None


def scan(
    source: Source,
    keywords: Iterable[str],
    *,
    match: str = "substring",
    limit: int | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    max_seconds: float | None = None,
    max_bytes: int | None = None,
    samples: Samples | None = None,
) -> Iterator[Scan]:
    """Look through `source` for `keywords`, at most `limit` rows (exactly so many if it has them). Bad rows count too:
    a source may have no others; `scanned` in the report are only the readable ones.

    Yields at the first kept file, then several times a second, and once at the end; there is always an end, also when
    `should_stop` says so, or when it has taken `max_seconds` or read `max_bytes` of text, which then is not `done`.
    """
    report, shards = Report(keywords), source.shards()
    samples = Samples() if samples is None else samples
    of: dict[str, Any] = {"extent": extent_of(shards), "source": source.spec, "note": source.note, "match": match}
    started = shown_at = time.perf_counter()
    has_shown_kept = stopped = False
    ended: Ended | None = None
    progress: float | None = None
    num_remembered = 0

    def state(*, done: bool) -> Scan:
        return Scan(
            report.to_dict(), samples.to_list(), done, progress, num_remembered=num_remembered, ended=ended, **of
        )

    with closing(matched(shards, Matcher(report.keywords, match), limit=limit)) as parts:
        for found in parts:
            report.add(found)
            samples.add(found)
            progress = found.batch.progress
            if found.batch.is_remembered:
                num_remembered += len(found.batch.rows) + len(found.batch.bad)
            now = time.perf_counter()
            report.seconds += now - started
            if stopped := should_stop():
                break
            is_whole = limit is not None and report.scanned + report.num_bad >= limit
            if ended := None if is_whole else _ended(report, max_seconds, max_bytes):
                break
            if now - shown_at >= SHOW_EVERY_SECONDS or (report.kept and not has_shown_kept):
                shown_at, has_shown_kept = now, report.kept > 0
                yield state(done=False)
            started = time.perf_counter()  # what the viewer took is not the scan's
    yield state(done=not stopped and ended is None)


def _ended(report: Report, max_seconds: float | None, max_bytes: int | None) -> Ended | None:
    if max_seconds is not None and report.seconds >= max_seconds:
        return Ended("seconds", max_seconds)
    if max_bytes is not None and report.num_bytes >= max_bytes:
        return Ended("bytes", max_bytes)
    return None


def matched(
    shards: Sequence[Shard],
    matcher: Matcher,
    *,
    limit: int | None = None,
    max_kept: int | None = None,
    threads: int | None = None,
) -> Generator[Matched, None, None]:
    """The shards' batches with what `matcher` keeps of them, cut after exactly `limit` rows, bad ones counted, or after
    `max_kept` kept ones. Read and matched in `threads` threads, a few batches ahead.
    """

    def work(piece: Piece) -> Matched:
        return matcher.matched(replace(piece.read(), progress=piece.share))

    num_rows = num_kept = 0
    with closing(in_threads(pieces_of(shards), work, threads)) as parts:
        for found in parts:
            batch = found.batch if limit is None else found.batch.at_most(limit - num_rows)
            if max_kept is not None and num_kept + len(found.rows) > max_kept:
                places = kept(matcher.hits(batch.rows["content"])).arg_true()
                batch = batch.head(places[max_kept - num_kept - 1] + 1)
            cut = found if batch is found.batch else matcher.matched(batch)
            num_rows += len(batch.rows) + len(batch.bad)
            num_kept += len(cut.rows)
            yield cut
            if num_rows == limit or num_kept == max_kept:
                return
