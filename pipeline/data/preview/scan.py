"""Scans a source and yields what was found so far every fraction of a second.

Writes nothing. It reads the same rows in the same order as `prepare`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

from pipeline.data.filter.matching import Matched, Matcher
from pipeline.data.report.samples import Sample, Samples
from pipeline.data.report.scan_report import Report
from pipeline.data.sources import Block, Shard, Source
from pipeline.data.sources.shard import SourceSize, blocks_of, extent_of, in_threads, promptly_in_threads

SHOW_EVERY_SECONDS = 0.3


@dataclass(frozen=True)
class Ended:
    """The limit that ended a scan before the source, or the requested part of it, was read to its end."""

    by: str
    """`seconds` or `bytes`."""
    limit: float
    """The value of that limit."""


@dataclass(frozen=True)
class Scan:
    """What a scan has found so far."""

    report: dict[str, Any]
    """The result of Report.to_dict."""
    samples: list[Sample]
    done: bool
    """Whether the source, or the requested part of it, has been read to its end."""
    progress: float | None = None
    """Fraction of the source that was read, 0 to 1; None if unknown."""
    extent: SourceSize | None = None
    """The size of the source, as far as it is known before reading."""
    num_from_memory: int = 0
    """Rows that came from the cache, including bad ones."""
    source: str = ""
    """The scanned source, as `open_source` names it."""
    note: str = ""
    """A note for people on what the numbers do not show."""
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
    """Scans `source` for `keywords`, at most `limit` rows (exactly that many if it has them). Bad rows count too, as a
    source may have no others; `scanned` in the report counts only the readable ones.

    Yields at the first kept file, then several times a second, and always once at the end. That last scan is not `done`
    when `should_stop` ended it, or when it has taken `max_seconds` or read `max_bytes` of text.
    """
    report = Report(keywords)
    samples = Samples() if samples is None else samples
    started = shown_at = time.perf_counter()
    shards = source.shards(
        lambda: should_stop() or (max_seconds is not None and time.perf_counter() - started >= max_seconds)
    )
    constant: dict[str, Any] = {"extent": extent_of(shards), "source": source.spec, "note": source.note, "match": match}
    report.seconds += time.perf_counter() - started
    stopped, ended = should_stop(), _ended(report, max_seconds, max_bytes)
    has_shown_kept = False
    progress: float | None = None
    num_from_memory = 0

    def state(*, done: bool) -> Scan:
        return Scan(
            report.to_dict(),
            samples.to_list(),
            done,
            progress,
            num_from_memory=num_from_memory,
            ended=ended,
            **constant,
        )

    is_over = stopped or ended is not None
    started = time.perf_counter()
    matcher = Matcher(report.keywords, match)
    with closing(matched([] if is_over else shards, matcher, limit=limit, is_watched=True)) as parts:
        for found in parts:
            report.add(found)
            samples.add(found)
            progress = found.batch.progress
            if found.batch.is_remembered:
                num_from_memory += len(found.batch.rows) + len(found.batch.bad)
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
            started = time.perf_counter()  # without the time that the consumer took
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
    threads: int | None = None,
    is_watched: bool = False,
) -> Generator[Matched, None, None]:
    """The batches of `shards` with the rows that `matcher` keeps, cut after exactly `limit` rows including bad ones.
    Read and matched in `threads` threads, a few batches ahead. `is_watched`: whether each is yielded as soon as it is
    there, although the source may be silent.
    """

    def work(block: Block) -> Matched:
        return matcher.matched(replace(block.read(), progress=block.share))

    num_rows = 0
    with closing((promptly_in_threads if is_watched else in_threads)(blocks_of(shards), work, threads)) as parts:
        for found in parts:
            batch = found.batch if limit is None else found.batch.at_most(limit - num_rows)
            num_rows += len(batch.rows) + len(batch.bad)
            yield found if batch is found.batch else matcher.matched(batch)
            if num_rows == limit:
                return
