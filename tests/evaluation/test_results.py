from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.core.atomic_io import write_json
from pipeline.core.paths import Home
from pipeline.evaluation import results


def result(step: int, **changes: Any) -> dict[str, Any]:
    share = {"value": 0.5, "low": 0.25, "high": 0.75}
    tasks = {"count": 180, "parses": share, "runs": share, "pass@1": share}
    return {"run": "calm-kea", "run_uid": "u", "step": step, "samples": 10, "tasks": tasks, **changes}


def write(home: Home, name: str, value: Any) -> None:
    home.evaluations.mkdir(parents=True, exist_ok=True)
    write_json(home.evaluation(name), value)


def test_the_results_of_one_run_come_by_step(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert results.of_run(home, "calm-kea", "u") == []
    for name, step in (("a", 20), ("b", 10)):
        write(home, name, result(step))
    write(home, "c", result(5, run="other"))
    write(home, "d", result(6, run_uid=None))
    rows = results.of_run(home, "calm-kea", "u")
    assert [row["step"] for row in rows] == [10, 20]
    assert rows[0] == {
        "step": 10, "num_tasks": 180, "samples": 10, "parses": 0.5, "runs": 0.5, "right": 0.5, "right_low": 0.25, "right_high": 0.75,
    }  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [{"step": "x"}, {"tasks": 3}, {"tasks": {}}, {"samples": None}, {"step": 10**400}, {"tasks": {"count": True}}],
)
def test_what_is_no_result_is_left_out(tmp_path: Path, changes: dict[str, Any]) -> None:
    home = Home(tmp_path)
    write(home, "a", {**result(10), **changes})
    (home.evaluations / "b.json").write_text("{")
    assert results.of_run(home, "calm-kea", "u") == []
