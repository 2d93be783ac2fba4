"""Parts of shards: the kept files and the report, cut exactly."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.config.quality import NO_RULES, QualityConfig
from pipeline.data.filter.shard_filter import FilterTask, kept_rows, process_shard, read_part
from pipeline.data.sources import BadRow
from tests.data.examples import Rows, batch, row

SHORT_LINES = QualityConfig(max_line_length=60)


def shard() -> Rows:
    """Ten batches of ten rows; every second one is kept, and every fourth has no line of over 60 characters."""
    texts = ["nothing", "pandas", "nothing", "pandas " * 60]
    rows = [row(number, content=texts[number % 4]) for number in range(100)]
    return Rows(
        *(batch(rows[start : start + 10], bad=(BadRow("not JSON", f"f:{start}"),)) for start in range(0, 100, 10))
    )


@pytest.mark.parametrize("max_good", [1, 5, 6, 24, 25, 80])
@pytest.mark.parametrize("quality", [NO_RULES, SHORT_LINES], ids=["all", "short lines"])
def test_a_part_ends_with_the_row_of_its_last_file(tmp_path: Path, quality: QualityConfig, max_good: int) -> None:
    task = FilterTask(
        shard=shard(), target=f"{tmp_path}/part", keywords=("pandas",), max_good=max_good, quality=quality
    )
    process_shard(task)
    part = read_part(task)
    assert part is not None
    every = 2 if quality is NO_RULES else 4
    assert part.num_good == sum(map(len, kept_rows(task))) == min(max_good, 100 // every)
    last_row = every * max_good - (0 if quality is NO_RULES else 2)  # good rows are 1, 3, ... or 1, 5, ...
    assert part.report.scanned == min(last_row, 100)
    assert part.report.kept == min(last_row, 100) // 2
