"""A corpus folder, and jobs that leave the signal handlers of the tests unchanged."""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.schema import DataConfig
from pipeline.core.atomic_io import write_json
from pipeline.core.job_process import JobProcess
from pipeline.core.paths import CorpusFolder, Home
from pipeline.data.prepare import prepare

Prepare = Callable[[DataConfig], dict[str, Any] | None]


@contextmanager
def signal_handlers_kept() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def handlers() -> Iterator[None]:
    with signal_handlers_kept():
        yield


def prepare_here(folder: CorpusFolder, config: DataConfig) -> dict[str, Any] | None:
    """Run one preparation in this process."""
    folder.path.mkdir(parents=True, exist_ok=True)
    write_json(folder.request, {"request_id": "r1", "config": dataclasses.asdict(config)})
    with signal_handlers_kept(), JobProcess(folder) as job:
        return prepare(job, config)


@pytest.fixture
def folder(tmp_path: Path) -> CorpusFolder:
    folder = Home(tmp_path / "home").corpus("code")
    folder.path.mkdir(parents=True)
    return folder


@pytest.fixture
def prepared(folder: CorpusFolder, handlers: None) -> Prepare:
    """Returns a function that runs one preparation of `folder` in this process."""
    return lambda config: prepare_here(folder, config)
