"""Scans of the package index in a real scan process: what it may reach, what stays of it, how it ends."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from pipeline.core.errors import PipelineError
from pipeline.core.settings import Limits
from pipeline.data.preview.process import ScanProcess
from pipeline.data.preview.scan import Ended, Scan
from pipeline.ui.data.scans import Key, Scans, Subscription
from tests.package_index import PackageIndex, Upload, link, plot, sdist, stored
from tests.waiting import eventually

pytestmark = pytest.mark.slow

LOGIN = "user:sesame-sesame"


def key(source: str) -> Key:
    return Key(source, ("matplotlib",), "substring", 1_000, builders=False)


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[PackageIndex]:
    files = {f"examples/a{number}.py": plot(number) for number in range(30)}
    bomb = Upload("bomb-1.0.tar.gz", sdist("bomb", "1.0", {"zeros.bin": bytes(2**29)}).data)
    projects = {
        "good": [sdist("good", "1.0", files)],
        "odd": [sdist("odd", "1.0", {"a.py": link("/etc/passwd"), "b.py": plot(1)})],
        "bomb": [bomb],
        "elsewhere": [sdist("elsewhere", "1.0", files, url="http://files.example/elsewhere-1.0.tar.gz")],
        "slow": [sdist("slow", "1.0", files)],
    }
    with PackageIndex(projects, login=LOGIN, silent="/files/slow") as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture
def open_scans(tmp_path: Path) -> Iterator[Callable[[], Scans]]:
    opened: list[Scans] = []

    def start(seconds: float = 300.0) -> Scans:
        limits = Limits(preview_seconds=seconds)
        opened.append(Scans(limits, tmp_path / "home" / "scans", tmp_path / "home" / "sdists"))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


def last_of(scans: Scans, source: str) -> Scan:
    *_, last = scans.watch(key(source))
    return last


@pytest.mark.parametrize("is_alive", [True, False])
def test_archives_are_kept_at_the_end_of_a_scan_and_another_process_downloads_none(
    index: PackageIndex, open_scans: Callable[[], Scans], tmp_path: Path, is_alive: bool
) -> None:
    """A preparation that is started after a scan, whose process waits for other keywords, is such a process."""
    scans = open_scans()
    first = last_of(scans, "pypi:good,odd")
    assert (first.done, first.report["scanned"], first.report["kept"]) == (True, 31, 31)
    assert first.report["bad_rows"] == {"link or device in an archive": 1}
    assert len(stored(tmp_path / "home")) == 2
    if not is_alive:
        scans.close()
    num_downloads = Counter(index.requests)["/files/good-1.0.tar.gz"]
    again = last_of(open_scans(), "pypi:good,odd")
    assert {**again.report, "seconds": 0, "bytes_per_second": 0} == {
        **first.report,
        "seconds": 0,
        "bytes_per_second": 0,
    }
    assert Counter(index.requests)["/files/good-1.0.tar.gz"] == num_downloads == 1


def test_a_login_is_neither_in_its_environment_nor_in_its_arguments(index: PackageIndex, tmp_path: Path) -> None:
    process = ScanProcess("pypi:good", builders=False, scratch=tmp_path / "scratch")
    try:
        handle = process.ask(("plt",), "substring", 10, seconds=60, max_bytes=10**9)
        with handle.changed:
            assert handle.changed.wait_for(lambda: handle.is_over, 120)
        assert handle.error is None
        running = psutil.Process(process.pid)
        assert "sesame" not in f"{running.environ()} {running.cmdline()}"
    finally:
        process.end("the test is over")


def test_it_reaches_no_other_host(index: PackageIndex, open_scans: Callable[[], Scans]) -> None:
    with pytest.raises(PipelineError, match="The package index cannot be reached"):
        last_of(open_scans(), "pypi:elsewhere")


def test_a_bomb_is_one_bad_row(index: PackageIndex, open_scans: Callable[[], Scans]) -> None:
    report = last_of(open_scans(), "pypi:bomb,good").report
    assert report["bad_rows"] == {"grows too far when unpacked": 1}
    assert report["bad_examples"][0]["where"] == "bomb-1.0"
    assert report["scanned"] == 30


def test_a_silent_index_ends_at_the_time_limit(index: PackageIndex, open_scans: Callable[..., Scans]) -> None:
    last = last_of(open_scans(seconds=1.0), "pypi:good,slow")
    assert last.ended == Ended("seconds", 1.0)
    assert not last.done


def test_a_scan_of_a_silent_index_is_cancelled(index: PackageIndex, open_scans: Callable[..., Scans]) -> None:
    scans, question = open_scans(seconds=3_600), Subscription()
    watching = threading.Thread(target=lambda: list(scans.watch(key("pypi:slow"), question)))
    watching.start()
    eventually(lambda: any(path.startswith("/files/slow") for path in index.requests))
    question.is_stopped = True
    watching.join(30)
    assert not watching.is_alive()
    eventually(lambda: not scans._shared and not scans._processes)


def test_an_index_that_is_down_is_one_sentence(index: PackageIndex, open_scans: Callable[[], Scans]) -> None:
    index.__exit__()
    with pytest.raises(PipelineError) as caught:
        last_of(open_scans(), "pypi:good")
    assert str(caught.value).startswith("The package index cannot be reached (no connection)")
