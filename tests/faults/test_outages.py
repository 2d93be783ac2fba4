"""The Hub is away for some seconds while a publisher with its default intervals has something to push."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.core.atomic_io import locked
from pipeline.core.paths import Home
from pipeline.jobs.views import run_view
from tests.checkpoints import write_checkpoint
from tests.faults.trials import Tally
from tests.hub.conftest import REPO, Publishers, states
from tests.loopback_hub import LoopbackHub
from tests.waiting import eventually

pytestmark = pytest.mark.slow

OUTAGE_SECONDS = 15.0


@pytest.fixture
def hub() -> Iterator[LoopbackHub]:
    with LoopbackHub() as started:
        yield started


@pytest.fixture
def publishers(hub: LoopbackHub, tmp_path: Path) -> Iterator[Publishers]:
    started = Publishers(Home(tmp_path / "published"), hub, tmp_path)
    yield started
    started.close()


def test_a_push_arrives_soon_after_an_outage_of_the_hub(publishers: Publishers, hub: LoopbackHub, tally: Tally) -> None:
    run = publishers.home.run("alpha")
    write_checkpoint(run, 100)
    hub.stop()
    with locked(run.lock):  # the run trains
        publishers.start_module()
        eventually(lambda: run_view(publishers.home, run.id).push_fault, "the fault on the run's page")
        fault = run_view(publishers.home, run.id).push_fault
        assert fault is not None and not fault.is_refused
        time.sleep(OUTAGE_SECONDS)
        write_checkpoint(run, 200)
        hub.start()
        back_at = time.monotonic()
        eventually(lambda: states(run).get(100) == "pushed")
        tally.counts["seconds until the waiting push has arrived"] = round(time.monotonic() - back_at, 1)  # type: ignore[assignment]
        eventually(lambda: states(run).get(200) == "pushed")
        tally.counts["until the one after it"] = round(time.monotonic() - back_at, 1)  # type: ignore[assignment]
    assert hub.titles(REPO) == [f"Training in progress step {step} (run alpha)" for step in (100, 200)]
    assert run_view(publishers.home, run.id).push_fault is None
