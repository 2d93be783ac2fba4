"""A look at a source while it goes on: every fraction of a second what was found so far.

Nothing is written. The same rows in the same order as `prepare` sees them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pipeline.data.matching import Matcher, kept
from pipeline.data.report import Report
from pipeline.data.samples import Sample, Samples
from pipeline.data.sources import Batch, Piece, Shard, Source
from pipeline.data.sources.shard import in_threads, pieces_of

if TYPE_CHECKING:
    import polars as pl

SHOW_EVERY_SECONDS = 0.3


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
    num_remembered: int = 0
    """Rows that came from memory, bad ones counted."""


def scan(
    source: Source,
    keywords: Iterable[str],
    *,
    match: str = "substring",
    limit: int | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Scan]:
    """Look through `source` for `keywords`, at most `limit` rows (exactly so many if it has them). Bad rows count too:
    a source may have no others; `scanned` in the report are only the readable ones.

    Yields at the first kept file, then several times a second, and once at the end; there is always an end, also when
    `should_stop` says so, which then is not `done`.
    """
    report, samples = Report(keywords), Samples()
    started = shown_at = time.perf_counter()
    has_shown_kept = stopped = False
    progress, num_remembered = None, 0

    def state(*, done: bool) -> Scan:
        return Scan(report.to_dict(), samples.to_list(), done, progress, num_remembered)

    with closing(matched(source.shards(), Matcher(report.keywords, match), limit=limit)) as parts:
        for batch, hits in parts:
            report.add(batch, hits)
            samples.add(batch, hits)
            progress = batch.progress
            num_remembered += batch.is_remembered * (len(batch.rows) + len(batch.bad))
            now = time.perf_counter()
            report.seconds += now - started
            if stopped := should_stop():
                break
            if now - shown_at >= SHOW_EVERY_SECONDS or (report.kept and not has_shown_kept):
                shown_at, has_shown_kept = now, report.kept > 0
                yield state(done=False)
            started = time.perf_counter()  # what the viewer took is not the scan's
    yield state(done=not stopped)


def matched(
    shards: Sequence[Shard],
    matcher: Matcher,
    *,
    limit: int | None = None,
    max_kept: int | None = None,
    threads: int | None = None,
) -> Generator[tuple[Batch, pl.DataFrame], None, None]:
    """The shards' batches with what `matcher` says of them, cut after exactly `limit` rows, bad ones counted, or after
    `max_kept` kept ones. Read and matched in `threads` threads, a few batches ahead.
    """

    def work(piece: Piece) -> tuple[Batch, pl.DataFrame]:
        batch = replace(piece.read(), progress=piece.share)
        return batch, matcher.hits(batch.rows["content"])

    num_rows = num_kept = 0
    with closing(in_threads(pieces_of(shards), work, threads)) as parts:
        for read, found in parts:
            batch = read if limit is None else read.at_most(limit - num_rows)
            hits = found.head(len(batch.rows))
            chosen = kept(hits)
            if max_kept is not None and num_kept + chosen.sum() > max_kept:
                num_wanted = chosen.arg_true()[max_kept - num_kept - 1] + 1
                batch = batch.head(num_wanted)
                hits, chosen = hits.head(num_wanted), chosen.head(num_wanted)
            num_rows += len(batch.rows) + len(batch.bad)
            num_kept += int(chosen.sum())
            yield batch, hits
            if num_rows == limit or num_kept == max_kept:
                return
