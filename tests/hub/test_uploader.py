"""Uploads by real publishers and the real client to a loopback Hub that fails on request."""

from __future__ import annotations

import random
import re
import signal
import time

import pytest

from pipeline.artifacts.checkpoint import Checkpoint
from pipeline.artifacts.revision import Registry
from pipeline.core.atomic_io import read_lines
from pipeline.core.paths import Home, RunFolder
from pipeline.core.settings import Settings
from pipeline.hub.publisher import pending
from pipeline.hub.push_status import read_retrying, request_retry
from tests.checkpoints import write_checkpoint
from tests.faults.shares import shares
from tests.hub.conftest import REPO, Publishers, states
from tests.loopback_hub import LoopbackHub
from tests.waiting import eventually

pytestmark = pytest.mark.slow

UPLOAD = "PUT /_lfs"
COMMIT = "POST .*/commit/main"


def title(step: int) -> str:
    return f"Training in progress step {step} (run alpha)"


@pytest.fixture
def on_hub(home: Home) -> Settings:
    return Settings(home=home.path, hub_repo=REPO)


def test_a_checkpoint_becomes_a_commit_that_is_whole(
    publishers: Publishers, hub: LoopbackHub, home: Home, run: RunFolder
) -> None:
    checkpoint = write_checkpoint(run, 500)
    assert publishers.start_module().wait(60) == 0
    _, commit = hub.commits(REPO)
    assert commit.title == title(500)
    assert commit.files["model.safetensors"].content == (checkpoint / "model.safetensors").read_bytes()
    assert commit.files.keys() == {
        ".gitattributes",
        "README.md",
        "config.json",
        "generation_config.json",
        "manifest.json",
        "model.safetensors",
        "provenance.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert b"step | 500 of 600" in commit.files["README.md"].content
    (revision,) = Registry(home, REPO).revisions()
    assert revision.commit == commit.oid
    assert commit.message == f"Revision {revision.revision}\n\nValidation loss 2.500000 on corpus python"
    assert [row["state"] for row in read_lines(run.pushes)] == ["registered", "uploading", "pushed"]
    assert read_lines(run.pushes)[-1]["commit"] == commit.oid


def test_checkpoints_are_pushed_as_they_come_and_the_last_says_that_the_run_ended(
    publishers: Publishers, hub: LoopbackHub, run: RunFolder
) -> None:
    for step in (200, 400, 600):
        write_checkpoint(run, step, final=step == 600)
        publishers.finish()
    assert hub.titles(REPO) == [title(200), title(400), "Training in progress step 600: run alpha ended"]
    assert set(states(run).values()) == {"pushed"}


def test_of_several_waiting_revisions_only_the_oldest_and_newest_are_pushed(
    publishers: Publishers, hub: LoopbackHub, home: Home, run: RunFolder
) -> None:
    for step in (100, 200, 300, 400):
        write_checkpoint(run, step)
    publishers.finish()
    assert hub.titles(REPO) == [title(100), title(400)]
    assert states(run) == {100: "pushed", 200: "superseded", 300: "superseded", 400: "pushed"}
    assert len(Registry(home, REPO).revisions()) == 4


def test_every_run_that_waits_gets_its_oldest_and_newest_pushed(
    publishers: Publishers, hub: LoopbackHub, home: Home
) -> None:
    for run in (home.run("alpha"), home.run("beta")):
        for step in (100, 200, 300):
            write_checkpoint(run, step)
    publishers.finish()
    assert [re.findall(r"step (\d+) \(run (\w+)", name)[0] for name in hub.titles(REPO)] == [
        ("100", "alpha"),
        ("300", "alpha"),
        ("100", "beta"),
        ("300", "beta"),
    ]


def test_passing_faults_are_retried_until_the_push_succeeds(
    publishers: Publishers, hub: LoopbackHub, run: RunFolder, on_hub: Settings
) -> None:
    write_checkpoint(run, 100)
    for status in (500, 503, 429):
        hub.refuse(status, on=COMMIT, times=1)
    publishers.finish()
    assert hub.titles(REPO) == [title(100)]
    logged = [(row["state"], (row["error"] or "")[:32]) for row in read_lines(run.pushes)]
    assert [state for state, _ in logged] == ["registered", "uploading", *["retrying"] * 3, "pushed"]
    assert logged[2][1] == "The Hub cannot take it now (500:"
    assert not pending(on_hub)


def test_after_a_concurrent_commit_the_push_is_retried(
    publishers: Publishers, hub: LoopbackHub, run: RunFolder
) -> None:
    write_checkpoint(run, 100)
    publishers.finish()
    before = sum(UPLOAD in request for request in hub.requests)  # the client may have retried one
    hub.hang(on=UPLOAD, times=1)
    write_checkpoint(run, 200)
    publisher = publishers.start(answer=1)
    eventually(lambda: sum(UPLOAD in request for request in hub.requests) > before)
    hub.edit(REPO, "README.md", "my own words")
    assert publisher.wait(60) == 0
    assert hub.titles(REPO) == [title(100), "Update README.md", title(200)]
    assert "412" in " ".join(row["error"] or "" for row in read_lines(run.pushes))


def test_checkpoints_are_registered_while_the_hub_hangs(
    publishers: Publishers, hub: LoopbackHub, home: Home, run: RunFolder, on_hub: Settings
) -> None:
    hub.hang(on=UPLOAD)
    write_checkpoint(run, 100)
    publishers.start()
    eventually(lambda: any(UPLOAD in request for request in hub.requests))
    for step in (200, 300):
        write_checkpoint(run, step)
        eventually(lambda step=step: states(run).get(step) == "registered")
    assert states(run)[100] == "uploading"
    assert [revision.step for revision in Registry(home, REPO).revisions()] == [300, 200, 100]
    assert pending(on_hub)


def test_a_refusal_is_logged_with_its_remedy_and_without_the_token(
    publishers: Publishers, hub: LoopbackHub, run: RunFolder, home: Home, on_hub: Settings
) -> None:
    fake = "not-a-real-token-but-secret"
    hub.refuse(403, on="POST", body='{"error": "you sent {authorization}"}')
    write_checkpoint(run, 100)
    write_checkpoint(run, 200)
    assert publishers.start_module(token=fake).wait(60) == 0
    assert states(run) == {100: "refused", 200: "refused"}
    error = read_lines(run.pushes)[-1]["error"]
    assert "may not write to me/parrot; give it that right" in error
    assert "you sent Bearer [token]" in error  # the control: the Hub did send it back
    written = [path for path in publishers.folder.rglob("*") if path.is_file()]
    assert publishers.log in written and run.pushes in written
    assert not [path for path in written if fake.encode() in path.read_bytes()]
    assert not pending(on_hub)
    assert {revision.step for revision in Registry(home, REPO).revisions()} == {100, 200}


def test_what_somebody_wrote_into_the_card_is_in_the_next_push(
    publishers: Publishers, hub: LoopbackHub, run: RunFolder
) -> None:
    write_checkpoint(run, 100)
    assert publishers.start_module().wait(60) == 0
    card = hub.commits(REPO)[-1].files["README.md"].content.decode()
    hub.edit(REPO, "README.md", card.replace("no programming assistant", "not for aeroplanes") + "\nThanks, mother.\n")
    write_checkpoint(run, 200)
    assert publishers.start_module().wait(60) == 0
    card = hub.commits(REPO)[-1].files["README.md"].content.decode()
    assert "not for aeroplanes" in card and card.endswith("Thanks, mother.\n")
    assert "step | 200 of 600" in card


def test_no_more_commits_are_made_in_an_hour_than_the_budget_allows(
    publishers: Publishers, hub: LoopbackHub, home: Home, run: RunFolder
) -> None:
    for step in (100, 200, 300):
        write_checkpoint(run, step)
        publishers.start(seam=FEW_COMMITS)
        eventually(lambda step=step: states(run).get(step) in ("pushed", "retrying"))  # type: ignore[misc]
    assert states(run) == {100: "pushed", 200: "pushed", 300: "retrying"}
    eventually(lambda: read_retrying(home, REPO))
    retrying = read_retrying(home, REPO)
    assert retrying is not None
    assert "128 commits an hour" in retrying.error
    assert 3_500 < retrying.next_at - time.time() <= 3_600
    assert len(hub.titles(REPO)) == 2


FEW_COMMITS = "import functools\nPatience = functools.partial(Patience, commits_per_hour=2)"


def test_a_person_who_asks_to_retry_need_not_wait_for_the_next_attempt(
    publishers: Publishers, hub: LoopbackHub, home: Home, run: RunFolder
) -> None:
    hub.refuse(429, on=COMMIT, headers={"Retry-After": "3000"})
    write_checkpoint(run, 100)
    publisher = publishers.start()
    eventually(lambda: read_retrying(home, REPO))
    retrying = read_retrying(home, REPO)
    assert retrying is not None
    assert (retrying.run, retrying.step, retrying.attempts) == ("alpha", 100, 1)
    assert "429" in retrying.error
    assert 2_990 < retrying.next_at - retrying.since <= 3_001
    hub.heal()
    request_retry(home, REPO)
    assert publisher.wait(60) == 0
    assert states(run) == {100: "pushed"}
    assert read_retrying(home, REPO) is None


def test_what_the_hub_refuses_again_after_a_request_is_not_repeated(
    publishers: Publishers, hub: LoopbackHub, home: Home, run: RunFolder, on_hub: Settings
) -> None:
    write_checkpoint(run, 100)
    publishers.finish(token="wrong")
    request_retry(home, REPO)
    assert pending(on_hub)
    publishers.finish(token="wrong")
    assert states(run) == {100: "refused"}
    assert not pending(on_hub)


def test_a_wrong_token_is_refused_and_a_right_one_publishes_again(
    publishers: Publishers, hub: LoopbackHub, home: Home, run: RunFolder
) -> None:
    write_checkpoint(run, 100)
    publishers.finish(token="wrong")
    assert "does not accept the token for me/parrot; set HF_TOKEN" in read_lines(run.pushes)[-1]["error"]
    publishers.finish()
    assert states(run) == {100: "refused"}  # not retried automatically
    request_retry(home, REPO)
    publishers.finish()
    assert states(run) == {100: "pushed"}
    assert hub.titles(REPO) == [title(100)]


def test_main_never_goes_back_a_step(publishers: Publishers, hub: LoopbackHub, home: Home, run: RunFolder) -> None:
    write_checkpoint(run, 100)
    publishers.finish(token="wrong")
    write_checkpoint(run, 200)
    publishers.finish()
    request_retry(home, REPO)
    publishers.finish()
    assert hub.titles(REPO) == [title(200)]
    assert states(run) == {100: "superseded", 200: "pushed"}


def test_a_revision_that_was_deleted_does_not_wait_for_ever(
    publishers: Publishers, hub: LoopbackHub, home: Home, run: RunFolder, on_hub: Settings
) -> None:
    hub.refuse(503, on=COMMIT)
    checkpoint = write_checkpoint(run, 100)
    publisher = publishers.start()
    eventually(lambda: states(run).get(100) == "retrying")
    publisher.kill()
    publisher.wait()
    checkpoint.rename(publishers.folder / "gone")
    Registry(home, REPO).folder.rename(publishers.folder / "registry gone")
    publishers.finish()
    assert "no longer in the registry" in read_lines(run.pushes)[-1]["error"]
    assert not pending(on_hub)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_publisher_that_is_ended_in_an_upload_is_followed_by_one_commit(
    publishers: Publishers, hub: LoopbackHub, run: RunFolder, number: signal.Signals
) -> None:
    hub.hang(on=UPLOAD, times=1)
    write_checkpoint(run, 100)
    publisher = publishers.start_module()
    eventually(lambda: any(UPLOAD in request for request in hub.requests))
    publisher.send_signal(number)
    assert publisher.wait(10) == -number
    assert states(run) == {100: "uploading"}
    write_checkpoint(run, 200)
    publishers.finish()
    assert hub.titles(REPO) == [title(100), title(200)]
    assert states(run) == {100: "pushed", 200: "pushed"}


def _kill_after_the_commit(publishers: Publishers, hub: LoopbackHub, run: RunFolder) -> None:
    """The Hub makes the commit, its response is lost, the publisher is killed, and a person then edits the card."""
    hub.hang(on=COMMIT, times=1, after=True)
    write_checkpoint(run, 100)
    publisher = publishers.start_module()
    eventually(lambda: hub.titles(REPO) == [title(100)])
    publisher.kill()
    publisher.wait()
    assert states(run) == {100: "uploading"}
    hub.edit(REPO, "README.md", "my own words")


def test_a_kill_between_the_commit_and_its_row_makes_no_second_commit(
    publishers: Publishers, hub: LoopbackHub, home: Home, run: RunFolder
) -> None:
    _kill_after_the_commit(publishers, hub, run)
    publishers.finish()
    assert hub.titles(REPO) == [title(100), "Update README.md"]
    assert hub.commits(REPO)[-1].files["README.md"].content == b"my own words"
    assert states(run) == {100: "pushed"}
    assert Registry(home, REPO).revisions()[0].commit == hub.commits(REPO)[1].oid


def test_control_without_listing_the_commits_first_there_is_a_second_commit(
    publishers: Publishers, hub: LoopbackHub, run: RunFolder
) -> None:
    _kill_after_the_commit(publishers, hub, run)
    publishers.finish(attempt_seam="from pipeline.hub import model_repo; model_repo.find_push = lambda *_: None")
    assert hub.titles(REPO) == [title(100), "Update README.md", title(100)]


def test_a_commit_whose_answer_was_lost_is_not_made_again(
    publishers: Publishers, hub: LoopbackHub, run: RunFolder
) -> None:
    hub.hang(on=COMMIT, times=1, after=True)
    write_checkpoint(run, 100)
    publishers.finish(answer=1.0)
    assert hub.titles(REPO) == [title(100)]
    assert [row["state"] for row in read_lines(run.pushes)] == ["registered", "uploading", "retrying", "pushed"]


def test_a_pause_of_the_machine_does_not_end_the_publisher_while_it_uploads(
    publishers: Publishers, hub: LoopbackHub, run: RunFolder
) -> None:
    """The machine sleeps, or is so loaded, that a wait takes longer than the publisher stays without work."""
    write_checkpoint(run, 100)
    publishers.finish(seam="import time\nwait = time.sleep\ntime.sleep = lambda seconds: wait(max(seconds, 0.5))")
    assert hub.titles(REPO) == [title(100)]


def test_a_bug_ends_one_push_and_not_the_publisher(publishers: Publishers, run: RunFolder) -> None:
    write_checkpoint(run, 100)
    publishers.finish(
        attempt_seam="from pipeline.hub import model_repo; model_repo.model_card = lambda *_, **__: 1 / 0"
    )
    assert read_lines(run.pushes)[-1]["error"] == "ZeroDivisionError: division by zero (traceback in publisher.log)"
    assert "Traceback" in publishers.log.read_text()


def test_a_panic_in_the_client_is_recorded_as_refused_not_superseded(publishers: Publishers, run: RunFolder) -> None:
    """A panic in a Rust extension raises a BaseException that is not an Exception."""
    write_checkpoint(run, 100)
    panic = "Panic = type('Panic', (BaseException,), {})\nmodel_repo.model_card = lambda *_, **__: exec(\"raise Panic('cut')\")"
    publishers.finish(attempt_seam=f"from pipeline.hub import model_repo\n{panic}")
    assert states(run) == {100: "refused"}
    assert read_lines(run.pushes)[-1]["error"] == "Panic: cut (traceback in publisher.log)"


@shares("num_kills", 10, 30)
def test_kills_at_random_instants_leave_one_commit_per_step_and_a_whole_registry(
    num_kills: int, publishers: Publishers, hub: LoopbackHub, home: Home, run: RunFolder, on_hub: Settings
) -> None:
    chance = random.Random(0)
    steps = range(100, 100 * (num_kills + 1), 100)
    for step in steps:
        write_checkpoint(run, step)
        publisher = publishers.start()
        time.sleep(chance.uniform(0.1, 2.4))  # from before the imports to after the push
        publisher.kill()
        publisher.wait()
    publishers.finish()
    pushed = [int(re.findall(r"step (\d+)", name)[0]) for name in hub.titles(REPO)]
    assert pushed == sorted(set(pushed)) and pushed[-1] == steps[-1]
    assert pushed == [step for step, state in sorted(states(run).items()) if state == "pushed"]
    assert not pending(on_hub)
    registry = Registry(home, REPO)
    assert [revision.step for revision in registry.revisions()] == [*reversed(steps)]
    assert sorted(path.name for path in registry.folder.iterdir()) == sorted(
        [*(revision.revision for revision in registry.revisions()), "history.jsonl", "commits.jsonl"]
    )
    for revision in registry.revisions():
        Checkpoint.open(revision.path).verify(revision.path)


def test_the_tag_best_follows_the_lowest_validation_loss(
    publishers: Publishers, hub: LoopbackHub, run: RunFolder
) -> None:
    best = []
    for step, loss in ((100, None), (200, 3.5), (300, 2.5), (400, 4.0)):
        write_checkpoint(run, step, eval_loss=loss)
        assert publishers.start_module().wait(60) == 0
        best.append(hub.repos.tags.get(REPO, {}).get("best"))
    commits = {commit.title: commit.oid for commit in hub.commits(REPO)}
    assert best == [None, commits[title(200)], commits[title(300)], commits[title(300)]]


def test_a_tag_that_somebody_else_has_set_stays(publishers: Publishers, hub: LoopbackHub, run: RunFolder) -> None:
    write_checkpoint(run, 100, eval_loss=4.0)
    assert publishers.start_module().wait(60) == 0
    hub.commit(REPO, "by hand", {"notes.md": "x"})
    theirs = hub.repos.tags[REPO]["best"] = hub.commits(REPO)[-1].oid
    write_checkpoint(run, 200, eval_loss=3.0)
    assert publishers.start_module().wait(60) == 0
    assert states(run) == {100: "pushed", 200: "pushed"}
    assert hub.repos.tags[REPO]["best"] == theirs


@pytest.mark.parametrize("on", ["GET .*/refs", "POST .*/tag/", "DELETE .*/tag/"])
def test_a_tag_that_cannot_be_moved_stops_no_push_and_is_moved_by_the_next(
    publishers: Publishers, hub: LoopbackHub, run: RunFolder, on: str
) -> None:
    write_checkpoint(run, 100, eval_loss=4.0)
    assert publishers.start_module().wait(60) == 0
    hub.refuse(500, on=on)
    write_checkpoint(run, 200, eval_loss=3.0)
    publishers.finish()
    assert states(run) == {100: "pushed", 200: "pushed"}
    hub.heal()
    write_checkpoint(run, 300, eval_loss=3.5)
    assert publishers.start_module().wait(60) == 0
    assert hub.repos.tags[REPO]["best"] == hub.commits(REPO)[-2].oid


@pytest.mark.parametrize("private", [False, True])
def test_a_repo_is_private_by_option(publishers: Publishers, hub: LoopbackHub, run: RunFolder, private: bool) -> None:
    write_checkpoint(run, 500)
    assert publishers.start_module(**({"PIPELINE_HUB_PRIVATE": "1"} if private else {})).wait(60) == 0
    assert hub.titles(REPO) == [title(500)]
    assert (REPO in hub.repos.private) == private


def test_a_public_repo_gets_nothing_that_shall_be_private(
    publishers: Publishers, hub: LoopbackHub, run: RunFolder
) -> None:
    hub.commit(REPO, "By hand", {".gitattributes": ""})
    write_checkpoint(run, 500)
    publishers.start_module(PIPELINE_HUB_PRIVATE="1").wait(60)
    assert states(run) == {500: "refused"}
    assert read_lines(run.pushes)[-1]["error"] == (
        f"Model repo {REPO} is public, and PIPELINE_HUB_PRIVATE is 1; make it private in its settings on the Hub, or leave "
        "PIPELINE_HUB_PRIVATE out."
    )
    assert hub.titles(REPO) == []


def test_nothing_is_pushed_into_a_repo_of_somebody_else_until_it_is_taken_over(
    publishers: Publishers, hub: LoopbackHub, home: Home, run: RunFolder
) -> None:
    hub.commit(REPO, "By hand", {"model.safetensors": "mine"})
    write_checkpoint(run, 500)
    publishers.finish()
    assert hub.titles(REPO) == [], "only the first commit, by hand"
    assert states(run) == {500: "refused"}
    assert "holds model.safetensors, not written by this program" in read_lines(run.pushes)[-1]["error"]
    request_retry(home, REPO)
    assert publishers.start_module(PIPELINE_HUB_TAKE_OVER="1").wait(60) == 0
    assert hub.titles(REPO) == [title(500)]
    write_checkpoint(run, 600)
    publishers.finish()
    assert states(run)[600] == "pushed", "it is ours now"
