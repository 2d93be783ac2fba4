"""Each kind of fault of the Hub, at each request of a push, with real publishers and the real client."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest

from pipeline.artifacts.revision import Registry
from pipeline.core.atomic_io import read_lines
from pipeline.core.paths import Home, RunFolder
from pipeline.hub.push_status import request_retry
from pipeline.jobs.views import run_view
from tests.checkpoints import write_checkpoint
from tests.faults.shares import repeats
from tests.hub.conftest import PATIENCE_SECONDS, REPO, Publishers, states
from tests.loopback_hub import LoopbackHub
from tests.waiting import eventually

pytestmark = pytest.mark.slow

LIST, CREATE, PREUPLOAD, BATCH = (
    "GET .*/commits/main",
    "POST /api/repos/create",
    "POST .*/preupload",
    "POST .*/info/lfs",
)
UPLOAD, COMMIT = "PUT /_lfs", "POST .*/commit/main"
ALL = (CREATE, LIST, PREUPLOAD, BATCH, UPLOAD, COMMIT)
MAX_SECONDS = 4.0
REPEATS = 5
NO_REPO = {"X-Error-Code": "RepoNotFound"}

Break = Callable[[LoopbackHub, str], None]


def status(code: int, body: str = '{"error": "no"}', **headers: str) -> Break:
    return lambda hub, on: hub.refuse(code, on=on, times=1, body=body, headers=headers)


def silence(hub: LoopbackHub, on: str) -> None:
    hub.hang(on=on, times=1)


def drip(hub: LoopbackHub, on: str) -> None:
    hub.drip(on=on, times=1)


def reset(share: float) -> Break:
    return lambda hub, on: hub.cut(share, on=on, times=1)


PASSING: dict[str, tuple[Break, tuple[str, ...]]] = {
    "408": (status(408), ALL),
    "404 of a list, though the repo exists": (status(404, **NO_REPO), (LIST,)),
    "409 without an address": (status(409), (LIST, PREUPLOAD, BATCH, UPLOAD, COMMIT)),
    "412": (status(412), (LIST, PREUPLOAD, BATCH, UPLOAD, COMMIT)),
    "429": (status(429, **{"Retry-After": "1"}), (LIST, UPLOAD, COMMIT)),
    "500": (status(500), ALL),
    "502 with a page": (status(502, "<html>Bad Gateway</html>"), ALL),
    "504": (status(504), ALL),
    "503": (status(503), ALL),
    "silence": (silence, ALL),
    "one byte a second": (drip, ALL),
    "reset at once": (reset(0.0), ALL),
    "reset at 10 %": (reset(0.1), (UPLOAD, COMMIT)),
    "reset at 50 %": (reset(0.5), (UPLOAD, COMMIT)),
    "reset at 90 %": (reset(0.9), (UPLOAD, COMMIT)),
    "no JSON": (status(200, "<html>Log in to this network</html>"), (CREATE, LIST, PREUPLOAD, BATCH, COMMIT)),
    "torn JSON": (status(200, '{"files": [{"pa'), (CREATE, LIST, PREUPLOAD, BATCH, COMMIT)),
    "a list": (status(200, "[]"), (CREATE, LIST, PREUPLOAD, BATCH, COMMIT)),
    "an object": (status(200, "{}"), (CREATE, LIST, PREUPLOAD, BATCH, COMMIT)),
    "null": (status(200, "null"), (CREATE, LIST, PREUPLOAD, BATCH, COMMIT)),
    "a string": (status(200, '"ok"'), (CREATE, LIST, PREUPLOAD, BATCH, COMMIT)),
    "numbers": (status(200, "[1, 2]"), (CREATE, LIST, PREUPLOAD, BATCH, COMMIT)),
}


def assert_on_hub_once(hub: LoopbackHub, home: Home, run: RunFolder, *steps: int) -> None:
    """Assert that these steps are pushed, that each is one commit with every byte of its revision, and that there are no
    other commits. Superseded rows do not count.
    """
    found = {step: state for step, state in states(run).items() if state != "superseded"}
    assert found == dict.fromkeys(steps, "pushed"), read_lines(run.pushes)
    commits, revisions = hub.commits(REPO)[1:], {r.step: r for r in Registry(home, REPO).revisions()}
    assert [commit.title for commit in commits] == [f"Training in progress step {n} (run {run.id})" for n in steps]
    for commit, step in zip(commits, steps, strict=True):
        for path in revisions[step].path.iterdir():
            assert commit.files[path.name].content == path.read_bytes(), (step, path.name)
        weights = run.checkpoint(step) / "model.safetensors"
        assert commit.files[weights.name].content == weights.read_bytes(), step


@pytest.mark.parametrize("name", PASSING)
@repeats(REPEATS)
def test_a_fault_that_passes_delays_a_push_and_makes_no_second_commit(
    name: str, repeat: int, publishers: Publishers, hub: LoopbackHub, home: Home, run: RunFolder
) -> None:
    break_hub, requests = PASSING[name]
    for request in requests:
        break_hub(hub, request)
    write_checkpoint(run, 100)
    publishers.finish(answer=1.0, attempt=MAX_SECONDS)
    assert_on_hub_once(hub, home, run, 100)
    assert "Traceback" not in publishers.log.read_text()


def test_control_a_second_commit_and_a_changed_byte_are_noticed(
    publishers: Publishers, hub: LoopbackHub, home: Home, run: RunFolder
) -> None:
    write_checkpoint(run, 100)
    publishers.finish()
    assert_on_hub_once(hub, home, run, 100)
    config = Registry(home, REPO).revisions()[0].path / "config.json"
    whole = config.read_bytes()
    config.unlink()  # it is a link to that of the checkpoint
    config.write_bytes(b"{}")
    with pytest.raises(AssertionError, match=r"config\.json"):
        assert_on_hub_once(hub, home, run, 100)
    config.write_bytes(whole)
    assert_on_hub_once(hub, home, run, 100)
    hub.commit(REPO, "Training in progress step 100 (run alpha)", {"config.json": "{}"})
    with pytest.raises(AssertionError, match="Training in progress"):
        assert_on_hub_once(hub, home, run, 100)


@repeats(REPEATS)
def test_a_hub_that_refuses_connections_gets_the_push_when_it_is_back(
    repeat: int, publishers: Publishers, hub: LoopbackHub, home: Home, run: RunFolder
) -> None:
    hub.stop()
    write_checkpoint(run, 100)
    publisher = publishers.start()
    eventually(lambda: run_view(home, run.id).push_fault, "the fault on the run's page")
    fault = run_view(home, run.id).push_fault
    assert fault is not None and not fault.is_refused and "cannot be reached (ConnectError" in fault.error
    hub.start()
    assert publisher.wait(PATIENCE_SECONDS) == 0
    assert_on_hub_once(hub, home, run, 100)


@pytest.mark.parametrize("on", [UPLOAD, COMMIT])
@repeats(REPEATS)
def test_a_hub_that_goes_away_in_a_push_gets_it_when_it_is_back(
    repeat: int, on: str, publishers: Publishers, hub: LoopbackHub, home: Home, run: RunFolder
) -> None:
    hub.hang(on=on, times=1, after=True)
    write_checkpoint(run, 100)
    publisher = publishers.start()
    eventually(lambda: any(re.match(on, request) for request in hub.requests))
    hub.stop()
    eventually(lambda: states(run).get(100) == "retrying")
    hub.start()
    assert publisher.wait(PATIENCE_SECONDS) == 0
    assert_on_hub_once(hub, home, run, 100)


REFUSED = {
    "401": (status(401), "does not accept the token for me/parrot; set HF_TOKEN"),
    "403": (status(403), "may not write to me/parrot; give it that right"),
    "404": (status(404), "has no repo me/parrot that this token may see; check PIPELINE_HUB_REPO and HF_TOKEN"),
    "413": (status(413), "refused the push to me/parrot; correct what it says"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("request_name", ALL)
@repeats(REPEATS)
def test_a_refusal_is_recorded_and_not_repeated(
    name: str,
    request_name: str,
    repeat: int,
    publishers: Publishers,
    hub: LoopbackHub,
    home: Home,
    run: RunFolder,
) -> None:
    break_hub, sentence = REFUSED[name]
    break_hub(hub, request_name)
    write_checkpoint(run, 100)
    publishers.finish()
    assert states(run) == {100: "refused"}, read_lines(run.pushes)
    fault = run_view(home, run.id).push_fault
    assert fault is not None and fault.is_refused and fault.can_retry
    assert sentence in fault.error
    num_requests = len(hub.requests)
    publishers.finish()
    assert len(hub.requests) == num_requests
    request_retry(home, REPO)
    publishers.finish()
    assert_on_hub_once(hub, home, run, 100)
    assert run_view(home, run.id).push_fault is None


@repeats(REPEATS)
def test_a_repo_deleted_between_two_pushes_is_created_again(
    repeat: int, publishers: Publishers, hub: LoopbackHub, home: Home, run: RunFolder
) -> None:
    write_checkpoint(run, 100)
    publishers.finish()
    hub.delete(REPO)
    write_checkpoint(run, 200)
    publishers.finish()
    assert states(run) == {100: "pushed", 200: "pushed"}
    assert hub.titles(REPO) == ["Training in progress step 200 (run alpha)"]
    weights = (run.checkpoint(200) / "model.safetensors").read_bytes()
    assert hub.commits(REPO)[-1].files["model.safetensors"].content == weights


@pytest.mark.parametrize("on", [PREUPLOAD, UPLOAD])
@repeats(REPEATS)
def test_a_push_whose_repo_is_deleted_under_it_is_refused_and_the_next_one_arrives(
    repeat: int, on: str, publishers: Publishers, hub: LoopbackHub, home: Home, run: RunFolder
) -> None:
    hub.happens(lambda: hub.delete(REPO), on=on)
    write_checkpoint(run, 100)
    publishers.finish()
    assert states(run) == {100: "refused"}, read_lines(run.pushes)
    fault = run_view(home, run.id).push_fault
    assert fault is not None and "has no repo me/parrot" in fault.error
    write_checkpoint(run, 200)
    publishers.finish()
    assert states(run) == {100: "refused", 200: "pushed"}
    assert hub.titles(REPO) == ["Training in progress step 200 (run alpha)"]
    assert run_view(home, run.id).push_fault is None


def test_control_a_push_that_is_not_ended_waits_for_a_byte_a_second(
    publishers: Publishers, hub: LoopbackHub, run: RunFolder
) -> None:
    hub.drip(on=LIST, times=1)
    write_checkpoint(run, 100)
    publisher = publishers.start(answer=2.0, attempt=3_600.0)
    eventually(lambda: any("commits/main" in request for request in hub.requests))
    time.sleep(2 * MAX_SECONDS)
    assert states(run) == {100: "uploading"}
    assert publisher.poll() is None


@pytest.mark.parametrize("on", [LIST, UPLOAD, COMMIT])
@repeats(REPEATS)
def test_the_wait_that_the_hub_asks_for_is_kept(
    on: str, repeat: int, publishers: Publishers, hub: LoopbackHub, home: Home, run: RunFolder
) -> None:
    """By the client itself, which repeats some requests, or by the publisher."""
    hub.refuse(429, on=on, times=1, headers={"Retry-After": "3"})
    write_checkpoint(run, 100)
    publishers.finish()
    times = [at for request, at in zip(hub.requests, hub.arrivals, strict=True) if re.match(on, request)]
    assert times[1] - times[0] >= 3.0
    assert_on_hub_once(hub, home, run, 100)
