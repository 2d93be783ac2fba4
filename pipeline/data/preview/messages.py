"""The protocol between the page and a scan process: one JSON object a line, of bounded size.

    setup, once  {"source": "hub:owner/name", "builders": false, "folder": "...", "memory_bytes": 10,
                  "index": {...}, "archives": "..."}; index: pip's settings for a source of the package index, or null
    requests     {"id": 1, "keywords": ["pandas"], "match": "substring", "limit": 9, "seconds": 1, "bytes": 9}
                 {"stop": 1}
    responses    {"ready": [...]} once, then {"id": 1, "scan": {...}} several times for a request, and last one of
                 {"id": 1, "done": true}, {"id": 1, "error": "...", "exit_status": 2}, {"id": 1, "memory": true} and
                 {"id": 1, "crash": "..."}

The process's messages contain untrusted data: `scan_of` checks their shape and trusts nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

from pipeline.data.preview.scan import Ended, Scan
from pipeline.data.report.samples import Sample
from pipeline.data.report.scan_report import MAX_BAD_EXAMPLES, MAX_NAMES, NUM_LENGTHS
from pipeline.data.sources.shard import SourceSize

LONGEST_MESSAGE = 4 * 2**20
"""Maximum bytes of one line; a longer one is not a valid message."""
SAMPLE_CHARACTERS = 40_000
"""Maximum characters of one sample; the page shows no more."""
ALL_SAMPLES_CHARACTERS = 500_000
MAX_BRACKETS = ALL_SAMPLES_CHARACTERS + 100_000
"""Maximum brackets in a message: more than the texts of samples can contain. Each could become an object in memory."""
MAX_KEYWORDS = 100
NAME_CHARACTERS = 300
"""Maximum characters of a repository name, a path or a licence."""


Count = Annotated[int, Field(strict=True, ge=0, le=10**18)]
Number = Annotated[float, Field(ge=0, le=10**18, allow_inf_nan=False)]
Text = Annotated[str, Field(strict=True, max_length=2 * NAME_CHARACTERS)]


class Hits(TypedDict):
    files: Count
    rate: Number
    imported: Count | None
    mentioned: Count | None
    first_line: Count | None


class Named(TypedDict):
    name: Text
    files: Count


class Together(TypedDict):
    keywords: Annotated[list[Text], Field(max_length=MAX_KEYWORDS)]
    files: Count


class BadRowExample(TypedDict):
    reason: Text
    where: Text


class Length(TypedDict):
    up_to: Count
    files: Count
    kept: Count


class ReportOfScan(TypedDict):
    """The fields of Report.to_dict that a scan has."""

    scanned: Count
    kept: Count
    keep_rate: Number
    keep_rate_interval: Annotated[list[Number], Field(min_length=2, max_length=2)] | None
    keywords: Annotated[dict[Text, Hits], Field(max_length=MAX_KEYWORDS)]
    overlap: Annotated[list[Together], Field(max_length=MAX_NAMES)]
    together: Annotated[list[Together], Field(max_length=MAX_NAMES)]
    bad_rows: Annotated[dict[Text, Count], Field(max_length=MAX_NAMES)]
    bad_examples: Annotated[list[BadRowExample], Field(max_length=MAX_BAD_EXAMPLES)]
    skipped: Count
    bytes: Count
    kept_bytes: Count
    seconds: Number
    bytes_per_second: Count | None
    repositories: Annotated[list[Named], Field(max_length=MAX_NAMES)]
    licenses: Annotated[list[Named], Field(max_length=MAX_NAMES)]
    lengths: Annotated[list[Length], Field(max_length=NUM_LENGTHS)]


REPORT: TypeAdapter[Any] = TypeAdapter(ReportOfScan)


def scan_message(scan: Scan, *, with_samples: bool) -> dict[str, Any]:
    """`scan` as a JSON object, with its samples cut to what is shown, or without them."""
    extent, ended = scan.extent, scan.ended
    return {
        "report": _short(scan.report),
        "samples": list(_cut(scan.samples)) if with_samples else None,
        "done": scan.done,
        "progress": scan.progress,
        "extent": [extent.num_files, extent.num_bytes] if extent else None,
        "num_from_memory": scan.num_from_memory,
        "source": scan.source,
        "note": scan.note,
        "match": scan.match,
        "ended": [ended.by, ended.limit] if ended else None,
    }


def scan_of(message: dict[str, Any], samples: list[Sample]) -> Scan:
    """The scan in `message`; `samples` are those of the previous message. Raises ValueError when it is not a scan."""
    try:
        own = message["samples"]
        return Scan(
            report=REPORT.validate_python(message["report"]),
            samples=samples if own is None else [_sample(*row) for row in own],
            done=bool(message["done"]),
            progress=None if message["progress"] is None else float(message["progress"]),
            extent=SourceSize(*message["extent"]) if message["extent"] else None,
            num_from_memory=int(message["num_from_memory"]),
            source=str(message["source"]),
            note=str(message["note"]),
            match=str(message["match"]),
            ended=Ended(*message["ended"]) if message["ended"] else None,
        )
    except (KeyError, TypeError, IndexError, AttributeError, OverflowError) as error:
        raise ValueError(f"no scan: {error}") from error


def _sample(*row: Any) -> Sample:
    hash_key, repo_name, path, licence, copies, size, content = map(str, row[:-1])
    return Sample(hash_key, repo_name, path, licence, copies, size, content, tuple(map(str, row[-1])))


def message_of(line: bytes) -> dict[str, Any]:
    """Raises ValueError when `line` is not an object, or has so many parts that it would take too much memory."""
    if line.count(b"{") + line.count(b"[") > MAX_BRACKETS:
        raise ValueError("too many brackets")
    message = json.loads(line)
    if not isinstance(message, dict):
        raise ValueError("no object")
    return message


def line_of(message: dict[str, Any]) -> bytes:
    return json.dumps(message, allow_nan=False).encode() + b"\n"


def _short(report: dict[str, Any]) -> dict[str, Any]:
    """`report` with its untrusted names truncated."""
    named = {
        key: [{**row, "name": row["name"][:NAME_CHARACTERS]} for row in report[key]]
        for key in ("repositories", "licenses")
    }
    examples = [{**row, "where": row["where"][:NAME_CHARACTERS]} for row in report["bad_examples"]]
    return {**report, **named, "bad_examples": examples}


def _cut(samples: Iterable[Sample]) -> Iterable[list[Any]]:
    left = ALL_SAMPLES_CHARACTERS
    for sample in samples:
        content = sample.content[:SAMPLE_CHARACTERS]
        left -= len(content)
        if left < 0:
            return
        names = (sample.repo_name, sample.path, sample.license, sample.copies, sample.size)
        yield [sample.hash_key, *(name[:NAME_CHARACTERS] for name in names), content, list(sample.keywords)]
