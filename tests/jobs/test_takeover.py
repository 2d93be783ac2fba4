"""A worker that is given another token takes over from the one at work; jobs go on, and refused pushes are tried again."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.core.atomic_io import locked, read_json
from pipeline.core.paths import ROOT, Home
from pipeline.core.settings import Settings
from pipeline.hub.push_log import PushLog
from pipeline.hub.takeover import Credentials
from pipeline.jobs.state import job_state
from pipeline.jobs.views import run_view
from tests.checkpoints import write_checkpoint
from tests.jobs.conftest import wait_for_state
from tests.jobs.test_worker import start
from tests.loopback_hub import TOKEN, LoopbackHub
from tests.waiting import eventually

pytestmark = pytest.mark.slow

REPO = "me/parrot"
StartWorker = Callable[..., "subprocess.Popen[bytes]"]


def test_the_worker_with_the_newer_token_takes_over_and_the_job_goes_on(
    settings: Settings, home: Home, start_worker: StartWorker
) -> None:
    start(settings, "a", count=60)
    first = start_worker("old token")
    wait_for_state(home, "a", "running")
    eventually(home.run("a").process.exists)
    process = read_json(home.run("a").process)
    second = start_worker("new token")
    eventually(lambda: (read_json(home.worker_status) or {}).get("pid") == second.pid)
    assert job_state(home.run("a")).state == "running"
    wait_for_state(home, "a", "finished")
    assert first.wait(timeout=300) == 0, "it stayed to record how its job ended"
    ended = read_json(home.run("a").process) or {}
    assert (ended["pid"], ended["exit_code"]) == ((process or {})["pid"], 0)
    assert second.wait(timeout=300) == 0


@pytest.mark.parametrize("token", ["old token", None])
def test_a_worker_with_the_same_token_or_none_leaves_at_once(
    settings: Settings, home: Home, start_worker: StartWorker, token: str | None
) -> None:
    start(settings, "a", count=10_000)
    first = start_worker("old token")
    wait_for_state(home, "a", "running")
    assert start_worker(token).wait(timeout=300) == 0
    assert first.poll() is None
    assert not home.takeover.exists()


@pytest.mark.parametrize(
    ("token", "archive", "replaced"),
    [
        ("old token", "data", {"": True, "data": True, "other": True, "none": True}),
        ("", "data", {"": False, "data": False, "other": True, "none": True}),
        ("", "", {"": False, "data": False, "other": False, "none": False}),
    ],
)
def test_who_replaces_whom(
    settings: Settings,
    home: Home,
    monkeypatch: pytest.MonkeyPatch,
    token: str,
    archive: str,
    replaced: dict[str, bool],
) -> None:
    """`replaced`: by its archive, a process; that of "" has a token, that of "none" neither. One without a token never
    replaces one that has it.
    """

    def credentials(token: str, archive: str) -> Credentials:
        monkeypatch.setenv("HF_TOKEN", token)
        monkeypatch.setenv("HF_TOKEN_PATH", str(home.path / "no login"))
        return Credentials(replace(settings, archive=Path("/mnt") / archive if archive else None))

    earlier = {
        "": credentials("a token", ""),
        "data": credentials("a token" if token or not archive else "", "data"),
        "other": credentials("", "other"),
        "none": credentials("", ""),
    }
    own = credentials(token, archive)
    assert {name: own.replace(other.digest) for name, other in earlier.items()} == replaced
    own.request_takeover()
    assert {name: other.are_replaced() for name, other in earlier.items()} == replaced


def test_one_that_pushes_the_gallery_elsewhere_replaces_the_earlier_one(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "a token")
    earlier = Credentials(replace(settings, gallery_repo="me/old"))
    own = Credentials(replace(settings, gallery_repo="me/new"))
    own.request_takeover()
    assert earlier.are_replaced() and not own.are_replaced()


def test_no_file_has_the_token(settings: Settings, home: Home, start_worker: StartWorker) -> None:
    start(settings, "a", count=60)
    start_worker("canary of the old one")
    wait_for_state(home, "a", "running")
    start_worker("canary of the new one")
    eventually(home.takeover.exists)
    wait_for_state(home, "a", "finished")
    assert not [path for path in home.path.rglob("*") if path.is_file() and b"canary" in path.read_bytes()]


@pytest.fixture
def hub() -> Iterator[LoopbackHub]:
    with LoopbackHub() as started:
        yield started


def test_a_token_that_is_changed_in_mid_run_pushes_what_was_refused_and_what_comes(
    tmp_path: Path, hub: LoopbackHub
) -> None:
    home = Home(tmp_path / "home")
    run = home.run("alpha")
    workers = []

    def wake(token: str) -> None:
        named = {"PIPELINE_HOME": str(home.path), "PIPELINE_HUB_REPO": REPO}
        environment = {**os.environ, **hub.environment(tmp_path, token), **named}
        workers.append(subprocess.Popen([sys.executable, "-m", "pipeline.jobs"], cwd=ROOT, env=environment))

    def state(step: int) -> str | None:
        return PushLog(run, REPO).rows().get(step, {}).get("state")

    run.path.mkdir(parents=True)
    try:
        with locked(run.lock):  # a run is training
            write_checkpoint(run, 100)
            wake("hf_expired")
            eventually(lambda: state(100) == "refused")
            fault = run_view(home, "alpha").push_fault
            assert fault is not None and "does not accept the token" in fault.error
            wake(TOKEN)
            eventually(lambda: state(100) == "pushed")
            write_checkpoint(run, 200)
            eventually(lambda: state(200) == "pushed")
        assert run_view(home, "alpha").push_fault is None
        assert hub.titles(REPO) == [f"Training in progress step {step} (run alpha)" for step in (100, 200)]
    finally:
        for worker in workers:
            worker.wait(timeout=300)
