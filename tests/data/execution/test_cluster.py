"""The Ray engine with a real Ray on the loopback, real kills, and a caller that is killed."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from pipeline.core.environment import child_environment
from pipeline.core.errors import InputError, PipelineError
from pipeline.core.paths import ROOT
from pipeline.data.execution import Executor, cluster, never, open_executor
from tests.data.execution import toys
from tests.data.execution.toys import Toy, children, is_done, run, wait_until_gone
from tests.waiting import eventually, is_gone

pytestmark = pytest.mark.timeout(400)  # a Ray that hangs has to end here

StartCaller = Callable[[str], tuple["subprocess.Popen[bytes]", list[Toy]]]


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> Executor:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return open_executor("ray", 2)


def test_without_ray_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_executor("ray", 1), "the control: it is installed"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        InputError, match=r"Ray is not installed; `pip install -c constraints.txt -r requirements-ray\.txt`"
    ):
        open_executor("ray", 1)


def test_nothing_to_do_starts_no_ray(two: Executor) -> None:
    before = children()
    assert run(two, toys.write, []) == []
    assert children() <= before


@pytest.mark.slow
def test_ray_runs_what_is_missing_and_leaves_the_signal_handler(two: Executor, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    toys.check_it_runs_what_is_missing(two, tmp_path)
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.slow
def test_a_killed_ray_worker_costs_one_task(two: Executor, tmp_path: Path) -> None:
    toys.check_a_killed_worker_costs_one_task(two, tmp_path)


@pytest.mark.slow
def test_a_poisonous_task_is_named_after_three_tries(two: Executor, tmp_path: Path) -> None:
    toys.check_a_poisonous_task_is_named(two, tmp_path)


@pytest.mark.slow
def test_an_input_error_arrives_as_it_was_raised(two: Executor, tmp_path: Path) -> None:
    toys.check_an_error_arrives_as_it_was_raised(two, tmp_path)


@pytest.mark.slow
def test_a_stop_ends_ray_in_mid_task(two: Executor, tmp_path: Path) -> None:
    toys.check_it_stops(two, tmp_path)


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Has the next `starts` starts of Ray end as they do on a machine where one of its parts is late."""
    from ray._private import services

    get_node = services.get_node

    def after(starts: int) -> None:
        left = iter(range(starts))

        def time_out(*args: object) -> object:
            if next(left, None) is None:
                return get_node(*args)
            raise Exception("The current node timed out during startup.")  # as Ray does

        monkeypatch.setattr(services, "get_node", time_out)

    return after


@pytest.mark.slow
def test_a_start_that_was_late_is_tried_again(two: Executor, tmp_path: Path, late: Callable[[int], None]) -> None:
    late(1)
    toys.check_it_runs_what_is_missing(two, tmp_path)


@pytest.mark.slow
def test_a_ray_that_does_not_start_is_an_error_and_leaves_no_process(
    two: Executor, tmp_path: Path, late: Callable[[int], None]
) -> None:
    late(cluster.STARTS)  # the fixture no_process_is_left sees what stays
    with pytest.raises(PipelineError, match=r"(?s)Ray on this machine does not start \(.*\); .* local engine"):
        run(two, toys.write, toys.toys(tmp_path, 1))


@pytest.mark.slow
def test_ray_listens_on_the_loopback_and_sees_no_secret(
    two: Executor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HF_TOKEN", "PIPELINE_OWNER_KEY"):
        monkeypatch.setenv(name, "sesame")
    listening: set[str] = set()
    others = psutil.Process().children(recursive=True)  # pages of other tests, which may listen elsewhere

    def list_connections(toy: Toy) -> None:
        started = [process for process in psutil.Process().children(recursive=True) if process not in others]
        for process in (psutil.Process(), *started):
            found = process.net_connections("inet")
            listening.update(each.laddr.ip for each in found if each.status == psutil.CONN_LISTEN)

    two.run(toys.write_environment, toys.toys(tmp_path, 2), is_done, list_connections, never)
    assert listening and {ip.removeprefix("::ffff:") for ip in listening} == {"127.0.0.1"}
    seen = (tmp_path / "0.txt").read_text()
    assert "sesame" not in seen
    assert "POLARS_MAX_THREADS=1" in seen.splitlines()
    assert os.environ["HF_TOKEN"] == "sesame", "this process keeps its own"


@pytest.mark.slow
def test_a_ray_of_our_own_sees_the_credentials_for_the_parts_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    for name in ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "AZURE_STORAGE_KEY"):
        monkeypatch.setenv(name, f"sesame of {name}")
    run(open_executor("ray", 1, parts="s3://bucket/parts"), toys.write_environment, toys.toys(tmp_path, 1))
    seen = (tmp_path / "0.txt").read_text().splitlines()
    assert [line for line in seen if "sesame" in line] == ["AWS_SECRET_ACCESS_KEY=sesame of AWS_SECRET_ACCESS_KEY"]


OF_HERE = (
    "HOME HF_HOME HF_HUB_CACHE HF_DATASETS_CACHE PIPELINE_HOME CUDA_VISIBLE_DEVICES NVIDIA_VISIBLE_DEVICES".split()
)


def test_variables_of_this_machine_are_not_sent_to_others() -> None:
    sent = cluster.for_other_machines({**dict.fromkeys(OF_HERE, "/of/here"), "HF_ENDPOINT": "http://x", "LANG": "C"})
    assert "/of/here" not in sent.values()
    assert (sent["HF_ENDPOINT"], sent["LANG"]) == ("http://x", "C")


@pytest.mark.slow
def test_ray_ends_when_its_caller_is_killed(start_caller: StartCaller) -> None:
    caller, hanging = start_caller("ray")
    below = psutil.Process(caller.pid).children(recursive=True)
    workers = [pid for toy in hanging for pid in toy.pids]
    assert set(workers) < {process.pid for process in below}
    assert not any(is_gone(pid) for pid in workers), "the control: they stay as long as it lives"
    os.kill(caller.pid, signal.SIGKILL)
    caller.wait()
    wait_until_gone([process.pid for process in below if "Agent" not in process.name()])
    for process in below:  # two helper processes of Ray take a minute to notice
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


JOINED = """
import sys
from pathlib import Path
from ray import cloudpickle
from pipeline.data.execution import open_executor
from tests.data.execution import toys
cloudpickle.register_pickle_by_value(toys)  # only the package is sent to the workers, not the tests
engine = open_executor("ray", 2, parts="s3://bucket/parts")
print(toys.run(engine, toys.write_environment, toys.toys(Path(sys.argv[1]), 2)))
"""


@pytest.fixture
def cluster_address() -> Iterator[dict[str, str]]:
    """Starts a separate Ray, from a folder without our package. Yields the environment variables to connect to it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}
    quiet = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    environment = {**child_environment(), **token, **quiet, "OF_THE_CLUSTER": "yes"}
    del environment["PYTHONPATH"]
    options = ["--block", "--include-dashboard=false", "--num-cpus=2", "--object-store-memory=80000000"]
    # A short path, because Ray creates its sockets below it.
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        command = [Path(sys.executable).parent / "ray", "start", "--head", f"--port={port}", f"--temp-dir={folder}"]
        with (Path(folder) / "log").open("wb") as log:
            head = subprocess.Popen([*command, *options], cwd=folder, env=environment, stdout=log, stderr=log)
        try:
            yield {**token, **quiet, "RAY_ADDRESS": f"127.0.0.1:{port}"}
        finally:
            below = psutil.Process(head.pid).children(recursive=True)
            head.kill()
            head.wait()
            for process in below:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()


@pytest.mark.slow
def test_a_cluster_gets_the_package_and_no_secret(cluster_address: dict[str, str], tmp_path: Path) -> None:
    port = int(cluster_address["RAY_ADDRESS"].partition(":")[2])
    secrets = dict.fromkeys(("HF_TOKEN", "AWS_SECRET_ACCESS_KEY"), "sesame")
    eventually(lambda: answers(port), "the start of the cluster")
    done = subprocess.run(
        [sys.executable, "-c", JOINED, tmp_path],
        cwd=ROOT,
        env={**child_environment(), **cluster_address, **secrets, "HF_ENDPOINT": "http://127.0.0.1:9"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.stdout.strip() == "[0, 1]", done.stderr
    seen = (tmp_path / "0.txt").read_text()
    assert "OF_THE_CLUSTER=yes" in seen, "it ran there"
    assert str(ROOT) not in seen, "with the package that was sent, not with ours"
    assert "sesame" not in seen
    assert "HF_ENDPOINT=http://127.0.0.1:9" in seen.splitlines()


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_cluster_that_cannot_be_reached_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(PipelineError, match=r"Ray at RAY_ADDRESS 127\.0\.0\.1:1 does not start"):
        run(open_executor("ray", 2), toys.write, toys.toys(tmp_path))
