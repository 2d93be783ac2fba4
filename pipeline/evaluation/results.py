"""The figures that evaluations have left on this disk, for whoever shows them. Does not depend on torch."""

from __future__ import annotations

from typing import Any

from pipeline.core.atomic_io import readable_json
from pipeline.core.paths import Home
from pipeline.core.untrusted import is_usable


def of_run(home: Home, run: str, run_uid: str | None) -> list[dict[str, Any]]:
    """A row for each evaluated revision of a run, first step first: its step, and the shares of completions that parse,
    run and are right. What is not a result is left out.
    """
    found = [
        row
        for path in sorted(home.evaluations.glob("*.json"))
        if (row := _row(readable_json(path), run, run_uid)) is not None
    ]
    return sorted(found, key=lambda row: row["step"])


def _row(result: dict[str, Any], run: str, run_uid: str | None) -> dict[str, Any] | None:
    if (result.get("run"), result.get("run_uid")) != (run, run_uid):
        return None
    try:
        tasks = result["tasks"]
        row = {
            "step": result["step"],
            "num_tasks": tasks["count"],
            "samples": result["samples"],
            "parses": tasks["parses"]["value"],
            "runs": tasks["runs"]["value"],
            "right": tasks["pass@1"]["value"],
            "right_low": tasks["pass@1"]["low"],
            "right_high": tasks["pass@1"]["high"],
        }
    except (KeyError, TypeError):
        return None
    is_number = all(type(value) in (int, float) for value in row.values())
    return row if is_number and is_usable(row) else None
