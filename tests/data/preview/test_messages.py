"""A scan process's messages are parsed or refused: even if an attacker controls the process, the page is unaffected."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipeline.data.preview.messages import (
    ALL_SAMPLES_CHARACTERS,
    LONGEST_MESSAGE,
    NAME_CHARACTERS,
    line_of,
    message_of,
    scan_message,
    scan_of,
)
from pipeline.data.preview.scan import Ended, Scan
from pipeline.data.report.samples import Sample
from pipeline.data.report.scan_report import Report
from pipeline.data.sources.shard import SourceSize


def sample(number: int = 0, content: str = "import pandas\n", name: str = "repo") -> Sample:
    return Sample(f"{number:016x}", name, "a.py", "mit", "1", "14", content, ("pandas",))


def scan(*samples: Sample) -> Scan:
    report = Report(["pandas"])
    report.bad_examples = []
    return Scan(
        report.to_dict(),
        list(samples),
        False,
        0.5,
        SourceSize(3, None),
        2,
        "installed",
        "a note",
        "substring",
        Ended("bytes", 9),
    )


def message_with(**changes: Any) -> dict[str, Any]:
    return {**scan_message(scan(), with_samples=True), **changes}


def test_a_scan_survives_the_round_trip() -> None:
    sent = scan(sample(1), sample(2))
    assert scan_of(message_of(line_of(scan_message(sent, with_samples=True))), []) == sent
    without = scan_of(message_of(line_of(scan_message(sent, with_samples=False))), sent.samples)
    assert without == sent


def test_a_message_is_bounded_whatever_the_files_contain() -> None:
    names = "n" * 10_000_000
    large = [sample(number, "\U0001f600[{" * 100_000, names) for number in range(150)]
    line = line_of(scan_message(scan(*large), with_samples=True))
    assert len(line) < LONGEST_MESSAGE
    found = scan_of(message_of(line), []).samples
    assert sum(len(each.content) for each in found) <= ALL_SAMPLES_CHARACTERS
    assert {len(each.repo_name) for each in found} == {NAME_CHARACTERS}


@pytest.mark.parametrize(
    "line",
    [
        b"[1]",
        b"7",
        b"not json",
        b"[" * 200_000,
        b'{"a":' * 100_000,
        b'{"a": [' + b"{}," * 1_000_000 + b"{}]}",
        b"\xff",
    ],
)
def test_a_line_that_is_not_a_message_is_refused(line: bytes) -> None:
    with pytest.raises((ValueError, RecursionError)):
        message_of(line)


@pytest.mark.parametrize(
    "changes",
    [
        {"report": []},
        {"report": {}},
        {"report": {**message_with()["report"], "scanned": "9" * 100}},
        {"report": {**message_with()["report"], "scanned": -1}},
        {"report": {**message_with()["report"], "kept": 10**30}},
        {"report": {**message_with()["report"], "keep_rate": float("inf")}},
        {"report": {**message_with()["report"], "repositories": [{"name": "x", "files": 1}] * 1_000}},
        {"report": {**message_with()["report"], "repositories": [{"name": "x" * 10_000, "files": 1}]}},
        {"report": {**message_with()["report"], "keywords": {str(n): {} for n in range(1_000)}}},
        {"num_from_memory": float("inf")},
        {"progress": "x"},
        {"extent": [1, 2, 3]},
        {"ended": "x"},
        {"samples": [["x"]]},
        {"samples": 7},
    ],
)
def test_an_invalid_scan_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        scan_of(message_with(**changes), [])
    assert json.dumps(message_with()), "control"


def test_unknown_fields_of_a_report_are_dropped() -> None:
    assert "more" not in scan_of(message_with(report={**message_with()["report"], "more": "x" * 10**6}), []).report
