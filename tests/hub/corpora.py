"""Small real corpora for push tests: a folder of Python files, rows with licences, and one unreadable row."""

from __future__ import annotations

import dataclasses
import signal
from functools import partial
from pathlib import Path
from unittest import mock

from pipeline.config.quality import QualityConfig
from pipeline.config.schema import DataConfig
from pipeline.core.atomic_io import write_json
from pipeline.core.job_process import JobProcess
from pipeline.core.paths import CorpusFolder, Home
from pipeline.data.filter import selection
from pipeline.data.filter.parquet_shards import ShardWriter
from pipeline.data.prepare import prepare
from tests.data.examples import code_folder, json_lines, row

CORPUS = "code"


def project(folder: Path, num_files: int = 60) -> Path:
    code_folder(folder, num_files)
    licensed = [row(number, license=("mit", "gpl-3.0")[number % 3 == 0]) for number in range(100, 130)]
    (folder / "rows.jsonl").write_bytes(json_lines(licensed) + b"{broken\n")
    return folder


def prepare_corpus(
    home: Home, source: Path, *, max_rows: int = 20, quality: QualityConfig | None = None, **changes: object
) -> CorpusFolder:
    """Prepare the corpus in this process, in shards of about `max_rows` files; may be repeated with other settings."""
    config = DataConfig(source=f"files:{source}", keywords=("pandas",), vocab_size=300, **changes)  # type: ignore[arg-type]
    config = config if quality is None else dataclasses.replace(config, quality=quality)
    folder = home.corpus(CORPUS)
    folder.path.mkdir(parents=True, exist_ok=True)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    write_json(folder.request, {"request_id": "r1", "config": dataclasses.asdict(config)})
    try:
        with (
            mock.patch.object(selection, "ShardWriter", partial(ShardWriter, max_rows=max_rows)),
            JobProcess(folder) as job,
        ):
            assert prepare(job, config) is not None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return folder
