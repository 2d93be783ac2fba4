"""The table of step times beside a faulty Hub. Does not test the times, which depend on the machine's other load."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from benchmarks.hub_faults import COLUMNS, GOAL_RATIO, compared
from pipeline.core.paths import ROOT


def test_a_row_compares_medians_and_means(capsys: pytest.CaptureFixture[str]) -> None:
    found = compared("500", [0.1, 0.1, 0.4], [0.11, 0.12, 0.13], 3, 7)
    cells = capsys.readouterr().out.strip().strip("|").split("|")
    assert [cell.strip() for cell in cells] == ["500", "3", "3", "0.100", "0.120", "1.200", "0.600", "3", "7"]
    assert found == {"name": "500", "ratio": 1.2, "goal": GOAL_RATIO, "ok": False}
    assert compared("500", [0.1], [0.105])["ok"]


@pytest.mark.slow
def test_a_real_run_meets_the_fault_and_is_pushed_beside_a_working_hub() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.hub_faults", "--quick", "--kinds", "refused connection"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *_, header, _, row, _, last = done.stdout.splitlines()
    columns, cells = ([cell.strip() for cell in line.strip("|").split("|")] for line in (header, row))
    assert columns == list(COLUMNS) and cells[0] == "refused connection"
    steps, faulty_steps, median, faulty_median, _, _, _, num_met = map(float, cells[1:])
    assert min(steps, faulty_steps, median, faulty_median, num_met) > 0
    found = json.loads(last)
    assert set(found) == {"ratio", "goal", "ok", "checks"}
    assert [check["name"] for check in found["checks"]] == ["refused connection"]
