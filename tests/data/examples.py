"""Small real inputs for the tests of the data package."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from pipeline.data.sources import COLUMNS, Batch, Block, Shard, Source
from pipeline.data.sources.base import content_bytes
from pipeline.data.sources.shard import never

CODE = "import pandas as pd\n\n\ndef mean(frame: pd.DataFrame) -> float:\n    return frame['x{number}'].mean()\n"


def code(number: int) -> str:
    """A short Python file that mentions pandas; no two are equal."""
    return CODE.replace("{number}", str(number))


def row(number: int, **changes: Any) -> dict[str, Any]:
    """One file in the format of the course's dataset."""
    text = code(number)
    facts = {"repo_name": f"owner/repo{number % 7}", "path": f"src/file{number}.py", "copies": "1"}
    return {**facts, "size": str(len(text)), "content": text, "license": "mit", **changes}


def json_lines(rows: Iterable[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in rows)


def code_folder(folder: Path, num_files: int) -> Path:
    """`num_files` Python files that mention pandas, and one that does not."""
    for number in range(num_files):
        path = folder / f"part{number % 3}" / f"file{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code(number))
    (folder / "other.py").write_text("import numpy as np\n")
    return folder


def batch(rows: list[dict[str, Any]], **facts: Any) -> Batch:
    frame = pl.DataFrame(rows, schema=dict.fromkeys(COLUMNS, pl.String))
    return Batch(frame, content_bytes(frame), **facts)


class Rows(Source):
    """A source that delivers given batches as one shard."""

    spec = "rows"
    name = "rows"
    num_bytes = 1
    num_files = 1
    local_files: Sequence[str] = ()

    def __init__(self, *batches: Batch) -> None:
        self._batches = batches

    def shards(self, is_over: Callable[[], bool] = never) -> list[Shard]:
        return [self]

    def blocks(self) -> Iterator[Block]:
        for number, batch in enumerate(self._batches, 1):
            yield Block(lambda batch=batch: batch, number / len(self._batches))  # type: ignore[misc]
