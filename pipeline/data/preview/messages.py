"""What the page and a scan process say to each other: one JSON object a line, of bounded size.

    {"source": "hub:owner/name", "builders": false, "folder": "...", "memory_bytes": 10}          first, once
    {"id": 1, "keywords": ["pandas"], "match": "substring", "limit": 9, "seconds": 1, "bytes": 9}  ->  {"id": 1, "scan": {...}}
    {"stop": 1}                                                                                    or  {"id": 1, "error": "..."}
                                                                                                   or  {"id": 1, "done": true}

What the process says is a stranger's data too: `scan_of` trusts nothing but its shape.
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
"""Bytes of one line; a longer one is no answer of ours."""
SAMPLE_CHARACTERS = 40_000
"""Of one sample: nobody is shown more."""
ALL_SAMPLES_CHARACTERS = 500_000
MOST_BRACKETS = ALL_SAMPLES_CHARACTERS + 100_000
"""Of a message: more than the texts of samples can hold, each of which would be an object in memory."""
MOST_KEYWORDS = 100
NAME_CHARACTERS = 300
"""Of a repository, a path, a licence."""


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
    keywords: Annotated[list[Text], Field(max_length=MOST_KEYWORDS)]
    files: Count


class Example(TypedDict):
    reason: Text
    where: Text


class Length(TypedDict):
    up_to: Count
    files: Count
    kept: Count


class ReportOfScan(TypedDict):
    """Report.to_dict, as far as a scan has it."""

    scanned: Count
    kept: Count
    keep_rate: Number
    keep_rate_interval: Annotated[list[Number], Field(min_length=2, max_length=2)] | None
    keywords: Annotated[dict[Text, Hits], Field(max_length=MOST_KEYWORDS)]
    overlap: Annotated[list[Together], Field(max_length=MAX_NAMES)]
    together: Annotated[list[Together], Field(max_length=MAX_NAMES)]
    bad_rows: Annotated[dict[Text, Count], Field(max_length=MAX_NAMES)]
    bad_examples: Annotated[list[Example], Field(max_length=MAX_BAD_EXAMPLES)]
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
    """`scan` as JSON holds it, with its samples cut to what is shown, or without them."""
    extent, ended = scan.extent, scan.ended
    return {
        "report": _short(scan.report),
        "samples": list(_cut(scan.samples)) if with_samples else None,
        "done": scan.done,
        "progress": scan.progress,
        "extent": [extent.num_files, extent.num_bytes] if extent else None,
        "num_remembered": scan.num_remembered,
        "source": scan.source,
        "note": scan.note,
        "match": scan.match,
        "ended": [ended.by, ended.most] if ended else None,
    }


def scan_of(message: dict[str, Any], samples: list[Sample]) -> Scan:
    """The scan that `message` tells of; `samples` are those of the message before. Raises ValueError when it is none."""
    try:
        own = message["samples"]
        return Scan(
            report=REPORT.validate_python(message["report"]),
            samples=samples if own is None else [_sample(*row) for row in own],
            done=bool(message["done"]),
            progress=None if message["progress"] is None else float(message["progress"]),
            extent=SourceSize(*message["extent"]) if message["extent"] else None,
            num_remembered=int(message["num_remembered"]),
            source=str(message["source"]),
            note=str(message["note"]),
            match=str(message["match"]),
            ended=Ended(*message["ended"]) if message["ended"] else None,
        )
    except (KeyError, TypeError, IndexError, AttributeError, OverflowError) as error:
        raise ValueError(f"no scan: {error}") from error


def _sample(*row: Any) -> Sample:
    draw, repo_name, path, licence, copies, size, content = map(str, row[:-1])
    return Sample(draw, repo_name, path, licence, copies, size, content, tuple(map(str, row[-1])))


def message_of(line: bytes) -> dict[str, Any]:
    """Raises ValueError when it is no object, or one of so many parts that reading it would take memory without end."""
    if line.count(b"{") + line.count(b"[") > MOST_BRACKETS:
        raise ValueError("too many brackets")
    message = json.loads(line)
    if not isinstance(message, dict):
        raise ValueError("no object")
    return message


def line_of(message: dict[str, Any]) -> bytes:
    return json.dumps(message, allow_nan=False).encode() + b"\n"


def _short(report: dict[str, Any]) -> dict[str, Any]:
    """`report` with a stranger's names cut."""
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
        yield [sample.draw, *(name[:NAME_CHARACTERS] for name in names), content, list(sample.keywords)]
