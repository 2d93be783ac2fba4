"""The Hub's revisions behind the registry's calls, through the real client."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pipeline.artifacts.checkpoint import Checkpoint
from pipeline.artifacts.revision import Registry, Revision
from pipeline.core.paths import Home, RunFolder
from pipeline.core.settings import Settings
from pipeline.hub.hub_registry import HubRegistry, open_registry
from tests.checkpoints import write_checkpoint
from tests.hub.conftest import REPO, ROOT, Publishers
from tests.loopback_hub import LoopbackHub

ASKS = """
import json
from pipeline.core.errors import PipelineError
from pipeline.hub.hub_registry import open_registry
from pipeline.core.settings import Settings
registry = open_registry(Settings.from_environment())
try:
    print(json.dumps({call}))
except PipelineError as error:
    print(json.dumps(f"{{type(error).__name__}}: {{error}}"))
"""
LIST = "[revision.to_dict() for revision in registry.revisions()]"
FETCH = "[str(registry.fetch(registry.get({text!r})).path) for _ in range(2)][0]"


def test_a_disk_with_revisions_asks_nobody(home: Home, run: RunFolder) -> None:
    settings = Settings(home=home.path, hub_repo=REPO)
    assert isinstance(open_registry(settings), HubRegistry)
    revision = Registry(home, REPO).add(write_checkpoint(run, 100))
    registry = open_registry(settings)
    assert isinstance(registry, Registry)
    assert registry.fetch(registry.get("newest")) == revision
    assert isinstance(open_registry(Settings(home=home.path / "other")), Registry)


def ask(publishers: Publishers, call: str, *, token: str | None = None) -> object:
    environment = publishers.environment(token)
    if token is None:
        environment.pop("HF_TOKEN", None)
    done = subprocess.run(
        [sys.executable, "-c", ASKS.format(call=call)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return json.loads(done.stdout)


@pytest.fixture
def wiped(publishers: Publishers, hub: LoopbackHub, home: Home, run: RunFolder) -> list[dict[str, object]]:
    """Three pushes and a person's edit, read over several pages of commits; then the disk is gone. What was there."""
    hub.repos.page_size = 2
    for step in (100, 200, 300):
        write_checkpoint(run, step, eval_loss=3 - step / 1000)
        publishers.finish()
    hub.edit(REPO, "NOTES.md", "mine")
    there = [revision.to_dict() for revision in Registry(home, REPO).revisions()]
    shutil.rmtree(home.path)
    return there


@pytest.mark.slow
def test_a_wiped_disk_has_the_same_revisions_from_the_hub(
    publishers: Publishers, wiped: list[dict[str, object]]
) -> None:
    assert ask(publishers, LIST) == wiped
    assert [row["step"] for row in wiped] == [300, 200, 100]
    assert all(row["commit"] for row in wiped)


@pytest.mark.slow
def test_any_revision_can_be_fetched_and_is_what_its_manifest_says(
    publishers: Publishers, wiped: list[dict[str, object]]
) -> None:
    for row in (wiped[0], wiped[2]):
        path = Path(str(ask(publishers, FETCH.format(text=row["revision"]))))
        checkpoint = Checkpoint.open(path)
        checkpoint.verify(path)
        assert (checkpoint.step, checkpoint.revision) == (row["step"], row["revision"])


@pytest.mark.slow
def test_before_the_first_push_there_are_none(publishers: Publishers, hub: LoopbackHub) -> None:
    assert ask(publishers, LIST) == []
    assert str(ask(publishers, FETCH.format(text="newest"))).startswith("InputError: me/parrot has no revision yet")


def test_who_asks_during_the_first_look_waits_for_what_it_finds(home: Home, run: RunFolder) -> None:
    there = [Registry(home, REPO).add(write_checkpoint(run, 100))]
    looking, answer = threading.Event(), threading.Event()

    class SlowHub(HubRegistry):
        def _look(self) -> list[Revision]:
            looking.set()
            assert answer.wait(60)
            return there

    registry = SlowHub(REPO)
    told: list[list[Revision]] = []
    asking = [threading.Thread(target=lambda: told.append(registry.revisions())) for _ in range(2)]
    asking[0].start()
    assert looking.wait(60)
    asking[1].start()
    asking[1].join(0.5)  # long enough to answer, if it did not wait
    answer.set()
    for thread in asking:
        thread.join(60)
    assert told == [there, there]


LOOKS_THRICE = """
from pipeline.core.errors import HubError
from pipeline.hub.hub_registry import HubRegistry
registry = HubRegistry("me/parrot")
for _ in range(3):
    try:
        registry.newest()
    except HubError as error:
        print(error)
"""


@pytest.mark.slow
def test_a_hub_that_cannot_be_asked_is_asked_once_and_the_answer_kept(publishers: Publishers, hub: LoopbackHub) -> None:
    hub.refuse(403)
    done = subprocess.run(
        [sys.executable, "-c", LOOKS_THRICE],
        cwd=ROOT,
        env=publishers.environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert len(set(done.stdout.splitlines())) == 1 and done.stdout.count("may not") == 3
    assert len(hub.requests) == 1
