"""What a push carries besides the model."""

from __future__ import annotations

import json

import pytest

from pipeline.artifacts.revision import Registry
from pipeline.core.atomic_io import read_json, write_json
from pipeline.core.paths import Home
from pipeline.hub.archive import open_archive
from tests.checkpoints import write_checkpoint
from tests.homes import write_run


def archived_state(home: Home, step: int) -> str:
    """The state in run.json of the push of that step."""
    run = home.run("parrot")
    config = read_json(run.config) or {}
    revision = Registry(home, "me/parrot").add(write_checkpoint(run, step))
    write_json(run.config, {**config, "run_uid": revision.run_uid})
    with open_archive(home, revision, with_state=False) as archive:
        assert archive is not None
        text = archive.contents["runs/parrot/run.json"]
    assert isinstance(text, bytes)
    return json.loads(text)["status"]["state"]


@pytest.mark.parametrize(
    ("state", "stopped_request", "archived"),
    [
        ("running", None, "running"),
        ("running", "parrot", "stopped"),
        ("running", "an earlier request", "running"),
        ("stopped", "parrot", "stopped"),
        ("finished", None, "running"),
        ("failed", None, "failed"),
    ],
)
def test_the_archived_state_is_that_of_the_pushed_step(
    home: Home, state: str, stopped_request: str | None, archived: str
) -> None:
    run = write_run(home, "parrot", state=state)
    if stopped_request:
        write_json(run.stop, {"request_id": stopped_request})
    assert archived_state(home, 10) == archived


def test_the_last_step_is_that_of_a_finished_run(home: Home) -> None:
    run = write_run(home, "parrot", state="running")
    config = read_json(run.config) or {}
    write_json(run.config, {**config, "training": {**config["training"], "max_steps": 20}})
    assert archived_state(home, 20) == "finished"
