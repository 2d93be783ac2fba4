"""What trains now, read from the home folder as the generator asks for it."""

from __future__ import annotations

import os
import time
from typing import Any

import pytest

from pipeline.core.atomic_io import locked, readable_json, write_json
from pipeline.core.paths import Home
from pipeline.generation.process import Training
from pipeline.ui.shared.engine import training_now
from tests.homes import write_run


def test_nothing_trains_without_a_run_that_holds_its_lock(home: Home) -> None:
    write_run(home, "calm-kea")
    write_run(home, "sad-kea", state="running")
    assert training_now(home) is None


@pytest.mark.parametrize(
    ("status", "changes", "device"),
    [({}, {}, None), ({"device": "cuda"}, {}, "cuda"), ({"device": "cpu"}, {}, "cpu"), ({}, {"device": "cpu"}, "cpu")],
)
def test_a_running_run_is_found_with_its_device(
    home: Home, status: dict[str, Any], changes: dict[str, Any], device: str | None
) -> None:
    run = write_run(home, "calm-kea", state="running", **status)
    write_json(run.request, {**readable_json(run.request), "changes": changes})
    with locked(run.lock, wait=False):
        assert training_now(home) == Training(request_id="calm-kea", run="calm-kea", device=device)


def test_a_resumed_run_has_not_yet_said_its_device(home: Home) -> None:
    """Its status is that of the attempt before, perhaps on another machine; its process is alive."""
    from pipeline.core.processes import identify

    run = write_run(home, "calm-kea", state="stopped", device="cpu")
    write_json(run.request, {**readable_json(run.request), "request_id": "again"})
    me = identify(os.getpid())
    record = {"request_id": "again", "pid": me.pid, "created": me.created, "started_at": time.time()}
    write_json(run.process, record)
    assert training_now(home) == Training(request_id="again", run="calm-kea", device=None)
