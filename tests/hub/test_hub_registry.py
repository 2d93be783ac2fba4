"""The Hub's revisions behind the same calls as the local registry, through the real client."""

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
from pipeline.artifacts.starter import starter
from pipeline.core.paths import Home, RunFolder
from pipeline.hub.hub_registry import HubRegistry
from tests.checkpoints import write_checkpoint
from tests.hub.conftest import REPO, ROOT, Publishers, states
from tests.loopback_hub import LoopbackHub

ASKS = """
import json
from pipeline.core.errors import PipelineError
from pipeline.core.settings import Settings
from pipeline.hub.revision_store import RevisionStore
store = RevisionStore(Settings.from_environment())
try:
    print(json.dumps({call}))
except PipelineError as error:
    print(json.dumps(f"{{type(error).__name__}}: {{error}}"))
"""
LIST = "[revision.to_dict() for revision in store.revisions()]"
FETCH = "[str(store.choose({text!r}).path) for _ in range(2)][0]"


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
    """Three pushes and a person's edit, on several pages of commits; the disk is then wiped. Returns what was on it."""
    hub.repos.page_size = 2
    for step in (100, 200, 300):
        write_checkpoint(run, step, eval_loss=3 - step / 1000)
        publishers.finish()
    hub.edit(REPO, "NOTES.md", "mine")
    rows = [revision.to_dict() for revision in Registry(home, REPO).revisions()]
    shutil.rmtree(home.path)
    return rows


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
def test_the_best_is_listed_however_old_it_is(publishers: Publishers, hub: LoopbackHub, run: RunFolder) -> None:
    for step, loss in ((100, 2.0), (200, 2.5), (300, 2.25)):
        write_checkpoint(run, step, eval_loss=loss)
        publishers.finish()
    shutil.rmtree(run.path.parents[1])
    only_the_newest = "setattr(__import__('pipeline.hub.hub_registry').hub.hub_registry, 'NUM_REVISIONS', 1)"
    found = ask(publishers, f"[{only_the_newest}, [revision.step for revision in store.revisions()]][1]")
    assert found == [300, 100]
    assert ask(publishers, "store.choose('best').step") == 100


@pytest.mark.slow
def test_a_commit_that_only_looks_like_a_push_is_left_out(
    publishers: Publishers, hub: LoopbackHub, wiped: list[dict[str, object]]
) -> None:
    for files in ({}, {"provenance.json": "[]"}, {"provenance.json": '{"run": "alpha"}'}):
        hub.commit(REPO, "Training in progress step 999 (run alpha)", files)
    facts = {**wiped[0], "step": 999}
    for name, value in (("pushed_at", 5), ("eval_loss", "low"), ("corpus", None), ("run_uid", ["a"]), ("tokens", "x")):
        files = {"provenance.json": json.dumps({**facts, name: value})}
        hub.commit(REPO, "Training in progress step 999 (run alpha)", files)
    assert ask(publishers, LIST) == wiped


@pytest.mark.slow
def test_the_first_checkpoint_on_a_wiped_disk_hides_none_of_the_hub(
    publishers: Publishers, home: Home, wiped: list[dict[str, object]]
) -> None:
    added = Registry(home, REPO).add(write_checkpoint(home.run("beta"), 50))
    assert ask(publishers, LIST) == [added.to_dict(), *wiped]
    assert str(ask(publishers, FETCH.format(text="newest"))) == str(added.path)
    assert Path(str(ask(publishers, FETCH.format(text=wiped[1]["revision"])))).is_dir()


@pytest.mark.slow
def test_a_name_that_is_used_again_after_a_wipe_is_another_run(
    publishers: Publishers, hub: LoopbackHub, home: Home, run: RunFolder, wiped: list[dict[str, object]]
) -> None:
    """Its step 50 is pushed although the old run of that name reached step 300."""
    write_checkpoint(run, 50, run_uid="b" * 16)
    publishers.finish()
    assert states(run) == {50: "pushed"}
    assert [commit.title for commit in hub.commits(REPO)][-1] == "Training in progress step 50 (run alpha)"
    write_checkpoint(run, 40, run_uid="b" * 16)
    publishers.finish()
    assert states(run) == {40: "superseded", 50: "pushed"}, "control: within one run, a later step supersedes it"


WITHOUT_A_HUB = """[[revision.step for revision in store.revisions()], store.fault]"""


@pytest.mark.slow
def test_while_the_hub_refuses_local_revisions_are_listed_with_the_reason(
    publishers: Publishers, hub: LoopbackHub, home: Home, run: RunFolder
) -> None:
    Registry(home, REPO).add(write_checkpoint(run, 100))
    hub.refuse(403)
    steps, fault = ask(publishers, WITHOUT_A_HUB)  # type: ignore[misc]
    assert steps == [100]
    assert "may not" in fault


KNOWN = """[store.known() == [], __import__("time").sleep(3), [revision.step for revision in store.known()]][::2]"""


@pytest.mark.slow
def test_a_page_knows_the_hubs_revisions_a_moment_later_without_waiting(
    publishers: Publishers, wiped: list[dict[str, object]]
) -> None:
    assert ask(publishers, KNOWN) == [True, [300, 200, 100]]


@pytest.mark.slow
def test_before_the_first_push_there_are_none_but_the_starter(publishers: Publishers, hub: LoopbackHub) -> None:
    own = starter()
    assert own is not None
    assert [row["revision"] for row in ask(publishers, LIST)] == [own.revision]
    assert "assets/starter" in str(ask(publishers, FETCH.format(text="newest")))


def test_a_call_during_the_first_poll_waits_for_its_result(home: Home, run: RunFolder) -> None:
    expected = [Registry(home, REPO).add(write_checkpoint(run, 100))]
    polling, answer = threading.Event(), threading.Event()

    class SlowHub(HubRegistry):
        def _poll(self) -> list[Revision]:
            polling.set()
            assert answer.wait(60)
            return expected

    registry = SlowHub(REPO)
    results: list[list[Revision]] = []
    threads = [threading.Thread(target=lambda: results.append(registry.revisions())) for _ in range(2)]
    threads[0].start()
    assert polling.wait(60)
    threads[1].start()
    threads[1].join(0.5)  # long enough to return if it did not wait
    answer.set()
    for thread in threads:
        thread.join(60)
    assert results == [expected, expected]


POLLS_THRICE = """
from pipeline.core.errors import HubError
from pipeline.hub.hub_registry import HubRegistry
registry = HubRegistry("me/parrot")
for _ in range(3):
    try:
        registry.revisions()
    except HubError as error:
        print(error)
"""


@pytest.mark.slow
def test_a_failed_poll_is_not_repeated_at_once_and_its_error_is_kept(publishers: Publishers, hub: LoopbackHub) -> None:
    hub.refuse(403)
    done = subprocess.run(
        [sys.executable, "-c", POLLS_THRICE],
        cwd=ROOT,
        env=publishers.environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert len(set(done.stdout.splitlines())) == 1 and done.stdout.count("may not") == 3
    assert len(hub.requests) == 1
