"""The worker with real processes: order of the jobs, every way a job ends, and kills of the worker itself."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
import tracemalloc
from collections.abc import Callable

import pytest

from pipeline.core.atomic_io import is_locked, read_json, tail, write_json
from pipeline.core.paths import Home, JobFolder
from pipeline.core.settings import Settings
from pipeline.jobs import worker as worker_module
from pipeline.jobs.corpora import start_pushing
from pipeline.jobs.job import resume_job, stop_job
from pipeline.jobs.runs import find_run, start_training
from pipeline.jobs.state import in_order, job_state, process_of
from pipeline.jobs.views import run_view, run_views
from pipeline.jobs.worker import own_environment
from tests.jobs.conftest import wait_for_state
from tests.jobs.sleeper import LOUD_BYTES
from tests.waiting import eventually

pytestmark = pytest.mark.slow

StartWorker = Callable[[], "subprocess.Popen[bytes]"]
MAX_READ_BYTES = 2 * 10**6


def start(settings: Settings, run_id: str, corpus: str = "ready", count: int = 5) -> str:
    return start_training(
        settings, corpus=corpus, preset="tiny", recipe="accelerate", run_id=run_id, changes={"seed": count}, queue=True
    )


def test_jobs_run_one_after_another_in_the_order_they_were_asked_for(
    settings: Settings, home: Home, start_worker: StartWorker
) -> None:
    for run_id in ("c", "a", "b"):
        start(settings, run_id)
    assert [run_view(home, run_id).place for run_id in ("c", "a", "b")] == [1, 2, 3]
    worker = start_worker()
    for run_id in ("c", "a", "b"):
        wait_for_state(home, run_id, "finished")
    times = [(read_json(home.run(r).status) or {})["started_at"] for r in ("c", "a", "b")]
    assert times == sorted(times)
    assert worker.wait(timeout=300) == 0, "with nothing left to do, the worker exits"
    assert [view.run for view in run_views(home)] == ["b", "a", "c"]


def test_a_job_sees_no_secret(settings: Settings, home: Home, start_worker: StartWorker) -> None:
    start(settings, "a")
    start_worker()
    wait_for_state(home, "a", "finished")
    assert tail(home.run("a").log) == ["counted 5 and sees no secret"]


def test_a_push_goes_on_beside_a_run_and_sees_the_token(
    settings: Settings, home: Home, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_of_the_test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of-a-bucket")
    start(settings, "a", count=10_000)
    for corpus in ("ready", "deaf"):
        start_pushing(settings, corpus_id=corpus, repo="me/files")
    start_worker()
    for corpus in ("ready", "deaf"):
        eventually(lambda corpus=corpus: job_state(home.corpus(corpus).push).state == "finished")  # type: ignore[misc]
    assert job_state(home.run("a")).state == "running"
    [line] = tail(home.corpus("ready").push.log)
    assert "HF_TOKEN" in line and "PIPELINE_OWNER_KEY" not in line and "AWS_SECRET_ACCESS_KEY" not in line
    times = [(read_json(home.corpus(c).push.status) or {}) for c in ("ready", "deaf")]
    assert times[0]["updated_at"] <= times[1]["started_at"], "one at a time"
    eventually(lambda: (read_json(home.corpus("deaf").push.process) or {}).get("exit_code") == 0)
    stop_job(settings, find_run(settings, "a"))
    wait_for_state(home, "a", "stopped")


def test_with_a_push_alone_the_worker_stays_until_it_is_over(
    settings: Settings, home: Home, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_of_the_test")
    start_pushing(settings, corpus_id="ready", repo="me/files")
    assert start_worker().wait(timeout=300) == 0
    assert job_state(home.corpus("ready").push).state == "finished"


@pytest.mark.parametrize(
    ("kind", "parts", "seen"),
    [
        ("prepare", "s3://bucket/parts", "AWS_SECRET_ACCESS_KEY"),
        ("prepare", "/mnt/shared", "no secret"),
        ("prepare", None, "no secret"),
        ("train", "s3://bucket/parts", "no secret"),
    ],
)
def test_a_preparation_sees_the_credentials_for_its_parts_alone(
    home: Home, start_worker: StartWorker, kind: str, parts: str | None, seen: str
) -> None:
    folder: JobFolder = home.corpus("new") if kind == "prepare" else home.run("new")
    asked = {"corpus": "ready", "workforce": {"parts": parts}}
    write_json(folder.request, {"request_id": "r1", "kind": kind, "requested_at": time.time(), **asked})
    assert start_worker().wait(timeout=300) == 0
    assert tail(folder.log) == [f"counted 5 and sees {seen}"]


@pytest.mark.parametrize(
    ("kind", "config", "seen"),
    [
        ("prepare", {"source": "pypi"}, "PIP_INDEX_URL"),
        ("prepare", {"source": "files:/x", "validation_source": "pypi:a"}, "PIP_INDEX_URL"),
        ("prepare", {"source": "installed"}, "no secret"),
        ("train", {"source": "pypi"}, "no secret"),
    ],
)
def test_a_preparation_sees_the_package_index_where_it_reads_it(
    home: Home, start_worker: StartWorker, kind: str, config: dict[str, str], seen: str
) -> None:
    folder: JobFolder = home.corpus("new") if kind == "prepare" else home.run("new")
    asked = {"corpus": "ready", "config": config}
    write_json(folder.request, {"request_id": "r1", "kind": kind, "requested_at": time.time(), **asked})
    assert start_worker().wait(timeout=300) == 0
    assert tail(folder.log) == [f"counted 5 and sees {seen}"]


def test_a_worker_whose_home_was_deleted_leaves(settings: Settings, home: Home, start_worker: StartWorker) -> None:
    """Its lock was deleted with the home; a recreated home gets another worker."""
    start(settings, "a", count=100)
    worker = start_worker()
    wait_for_state(home, "a", "running")
    shutil.move(home.path, home.path.with_name("gone"))
    assert worker.wait(timeout=300) == 0


def test_the_worker_does_not_get_the_owners_key(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_OWNER_KEY", "sesame")
    assert "sesame" not in own_environment(settings).values()


def test_a_second_worker_leaves_at_once(settings: Settings, home: Home, start_worker: StartWorker) -> None:
    start(settings, "a", count=100)
    first = start_worker()
    wait_for_state(home, "a", "running")
    assert start_worker().wait(timeout=300) == 0
    assert first.poll() is None


def test_stop_saves_and_a_queued_run_that_is_stopped_never_starts(
    settings: Settings, home: Home, start_worker: StartWorker
) -> None:
    start(settings, "a", count=1000)
    start(settings, "b")
    start_worker()
    wait_for_state(home, "a", "running")
    stop_job(settings, find_run(settings, "b"))
    assert job_state(home.run("b")).state == "stopped"
    stop_job(settings, find_run(settings, "a"))
    wait_for_state(home, "a", "stopped")
    assert not home.run("b").log.exists()


def test_a_job_that_ignores_every_stop_is_ended(settings: Settings, home: Home, start_worker: StartWorker) -> None:
    start(settings, "a", corpus="deaf", count=10_000)
    start_worker()
    wait_for_state(home, "a", "running")
    stop_job(settings, find_run(settings, "a"))
    assert job_state(home.run("a")).state == "stopping"
    wait_for_state(home, "a", "interrupted")
    process = process_of(job_state(home.run("a")))
    assert process is not None
    assert not process.is_alive()


def test_a_job_that_writes_100_mb_does_not_wait_for_a_reader_and_little_of_it_is_read(
    settings: Settings, home: Home, start_worker: StartWorker
) -> None:
    start(settings, "a", corpus="loud")
    start_worker()
    wait_for_state(home, "a", "finished")
    log = home.run("a").log
    assert log.stat().st_size > LOUD_BYTES

    def read_as_the_page_does() -> None:
        assert run_view(home, "a").state == "finished"
        assert [view.run for view in run_views(home)] == ["a"]
        assert tail(log)[-1] == "counted 5 and sees no secret"

    assert peak_bytes(read_as_the_page_does) < MAX_READ_BYTES
    assert peak_bytes(log.read_text) > LOUD_BYTES, "the control: reading it whole is noticed"


def peak_bytes(read: Callable[[], object]) -> int:
    """The most memory that Python's objects have taken at a time during the call."""
    tracemalloc.start()
    try:
        read()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_failure_is_reported_with_the_jobs_own_error(
    settings: Settings, home: Home, start_worker: StartWorker
) -> None:
    start(settings, "a", corpus="fails")
    start_worker()
    wait_for_state(home, "a", "failed")
    assert run_view(home, "a").error == "The bird is 3; give it 4."


def test_a_job_that_exits_without_a_status_is_interrupted_and_can_be_resumed(
    settings: Settings, home: Home, start_worker: StartWorker
) -> None:
    start(settings, "a", corpus="dies")
    worker = start_worker()
    wait_for_state(home, "a", "interrupted")
    assert worker.wait(timeout=300) == 0
    assert "exit status 7" in str(run_view(home, "a").error)
    resume_job(settings, find_run(settings, "a"))
    assert job_state(home.run("a")).state == "queued"
    assert (read_json(home.run("a").request) or {})["resume"] is True
    start_worker()
    wait_for_state(home, "a", "interrupted")


def test_killing_the_worker_leaves_its_job_running_and_the_next_worker_finds_it(
    settings: Settings, home: Home, start_worker: StartWorker
) -> None:
    start(settings, "a", count=60)
    start(settings, "b")
    worker = start_worker()
    wait_for_state(home, "a", "running")
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    assert not is_locked(home.worker_lock)
    assert job_state(home.run("a")).state == "running"
    second = start_worker()
    wait_for_state(home, "b", "finished")
    assert job_state(home.run("a")).state == "finished"
    assert len(tail(home.run("a").log)) == 1, "it was not started twice"
    assert second.wait(timeout=300) == 0


def test_a_killed_job_is_interrupted_and_the_next_one_starts(
    settings: Settings, home: Home, start_worker: StartWorker
) -> None:
    start(settings, "a", count=10_000)
    start(settings, "b")
    start_worker()
    wait_for_state(home, "a", "running")
    os.kill((read_json(home.run("a").process) or {})["pid"], signal.SIGKILL)
    wait_for_state(home, "b", "finished")
    assert job_state(home.run("a")).state == "interrupted"
    assert "signal 9" in str(run_view(home, "a").error)


def test_a_request_that_comes_while_the_worker_leaves_is_not_forgotten(
    settings: Settings, home: Home, start_worker: StartWorker
) -> None:
    """Each request starts its own worker; the one of the two that stays must see the request."""
    for number in range(6):
        start(settings, f"r{number}", count=1)
        start_worker()
        wait_for_state(home, f"r{number}", "finished")
        time.sleep(0.1 * number)  # each time later in the first worker's last half second
    assert in_order(home) == []


def test_a_page_wakes_a_worker_that_was_killed(
    settings: Settings, home: Home, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    woken = []
    monkeypatch.setattr(worker_module, "wake", lambda settings: woken.append(start_worker()))
    monkeypatch.setattr(worker_module, "WATCH_SECONDS", 0.2)
    start(settings, "a", count=30)
    start(settings, "b")
    threading.Thread(target=worker_module.keep_awake, args=[settings], daemon=True).start()
    wait_for_state(home, "a", "running")
    num_woken = len(woken)
    for worker in list(woken):
        worker.kill()
    eventually(lambda: len(woken) > num_woken)
    wait_for_state(home, "b", "finished")
    assert job_state(home.run("a")).state == "finished"
