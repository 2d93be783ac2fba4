"""Each kind of fault of the Hub, at each request of a push, with real publishers and the real client."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from pipeline.core.atomic_io import read_lines
from pipeline.core.paths import Home, RunFolder
from tests.checkpoints import write_checkpoint
from tests.hub.conftest import REPO, Publishers, states
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
    "409 without an address": (status(409), (LIST, PREUPLOAD, COMMIT)),
    "412": (status(412), (LIST, COMMIT)),
    "429": (status(429, **{"Retry-After": "1"}), (LIST, UPLOAD, COMMIT)),
    "500": (status(500), ALL),
    "502 with a page": (status(502, "<html>Bad Gateway</html>"), ALL),
    "504": (status(504), ALL),
    "silence": (silence, (LIST, UPLOAD, COMMIT)),
    "one byte a second": (drip, (LIST, UPLOAD, COMMIT)),
    "reset at 10 %": (reset(0.1), (UPLOAD, COMMIT)),
    "reset at 50 %": (reset(0.5), (UPLOAD, COMMIT)),
    "reset at 90 %": (reset(0.9), (UPLOAD, COMMIT)),
    "no JSON": (status(200, "<html>Log in to this network</html>"), (LIST, PREUPLOAD, BATCH, COMMIT)),
    "a list": (status(200, "[]"), (CREATE, LIST, PREUPLOAD, BATCH, COMMIT)),
    "an object": (status(200, "{}"), (CREATE, LIST, PREUPLOAD, BATCH, COMMIT)),
    "null": (status(200, "null"), (CREATE, LIST, PREUPLOAD, BATCH, COMMIT)),
    "numbers": (status(200, "[1, 2]"), (CREATE, LIST, PREUPLOAD, BATCH, COMMIT)),
}


@pytest.mark.parametrize("name", PASSING)
def test_a_fault_that_passes_delays_a_push_and_makes_no_second_commit(
    name: str, publishers: Publishers, hub: LoopbackHub, home: Home, run: RunFolder
) -> None:
    break_hub, requests = PASSING[name]
    for request in requests:
        break_hub(hub, request)
    checkpoint = write_checkpoint(run, 100)
    publishers.finish(answer=1.0, attempt=MAX_SECONDS)
    assert states(run) == {100: "pushed"}, read_lines(run.pushes)
    [pushed] = hub.commits(REPO)[1:]
    assert pushed.files["model.safetensors"].content == (checkpoint / "model.safetensors").read_bytes()
    assert "Traceback" not in publishers.log.read_text()


REFUSED = {
    "401": (status(401), "does not accept the token for me/parrot; set HF_TOKEN"),
    "403": (status(403), "may not write to me/parrot; give it that right"),
    "413": (status(413), "refused the push to me/parrot; correct what it says"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("request_name", [LIST, UPLOAD, COMMIT])
def test_a_refusal_is_recorded_and_not_repeated(
    name: str, request_name: str, publishers: Publishers, hub: LoopbackHub, run: RunFolder
) -> None:
    break_hub, sentence = REFUSED[name]
    break_hub(hub, request_name)
    write_checkpoint(run, 100)
    publishers.finish()
    assert states(run) == {100: "refused"}
    assert sentence in read_lines(run.pushes)[-1]["error"]
    num_requests = len(hub.requests)
    publishers.finish()
    assert len(hub.requests) == num_requests


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


def test_the_wait_that_the_hub_asks_for_is_kept(publishers: Publishers, hub: LoopbackHub, run: RunFolder) -> None:
    hub.refuse(429, on=COMMIT, times=1, headers={"Retry-After": "3"})
    write_checkpoint(run, 100)
    publishers.finish()
    [retrying] = [row for row in read_lines(run.pushes) if row["state"] == "retrying"]
    assert read_lines(run.pushes)[-1]["time"] - retrying["time"] >= 3.0
    assert sum("/commit/main" in request for request in hub.requests) == 2
