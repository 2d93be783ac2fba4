from __future__ import annotations

import json
import subprocess
import sys

import pytest

from benchmarks.tokenize import verdict
from pipeline.core.paths import ROOT


def test_one_failed_check_is_a_failed_verdict() -> None:
    assert verdict(8.0, {"same": True})["ok"]
    assert not verdict(7.99, {"same": True})["ok"]
    failed = verdict(12.0, {"same": True, "all there": False})
    assert (failed["ratio"], failed["goal"], failed["ok"]) == (12.0, 8, False)
    assert [(check["ratio"], check["ok"]) for check in failed["checks"]] == [(12.0, True), (1.0, True), (0.0, False)]


@pytest.mark.slow
def test_ids_are_the_same_in_all_three_ways() -> None:
    """Does not check the ratio, which depends on the machine's other load."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.tokenize", "--quick"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    last = json.loads(done.stdout.splitlines()[-1])
    assert set(last) == {"ratio", "goal", "ok", "checks"}
    assert [check["name"] for check in last["checks"] if check["ok"]][-3:] == [
        "ids as the tokenizer's own",
        "windows as the course's",
        "no token dropped",
    ]
