"""How many threads the processes of a preparation get."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.data.execution.tasks import threads_per_worker
from pipeline.data.sources.shard import num_threads


def test_a_preparation_uses_no_more_threads_than_its_container_has_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = tmp_path / "cpu.max"
    monkeypatch.setattr("pipeline.core.environment.CPU_LIMIT", limit)
    monkeypatch.delenv("POLARS_MAX_THREADS", raising=False)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(16)))
    assert (num_threads(), threads_per_worker(2)) == (8, 8), "control: without a limit"
    limit.write_text("400000 100000")
    assert (num_threads(), threads_per_worker(2)) == (4, 2)
