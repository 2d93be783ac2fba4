"""A real scan process: its results, what it can access of the page, and how one that misbehaves is ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipeline.core.errors import InputError
from pipeline.core.paths import ROOT
from pipeline.data.preview import process as module
from pipeline.data.preview.process import ScanHandle, ScanProcess, environment
from tests.waiting import eventually, is_gone

pytestmark = pytest.mark.slow

Start = Callable[..., ScanProcess]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[ScanProcess] = []

    def begin(source: str, **settings: Any) -> ScanProcess:
        started.append(ScanProcess(source, builders=False, scratch=tmp_path / "scratch", **settings))
        return started[-1]

    yield begin
    for each in started:
        each.end("the test is over")


@pytest.fixture
def code(tmp_path: Path) -> Path:
    folder = tmp_path / "code"
    folder.mkdir()
    for number in range(30):
        (folder / f"{number}.py").write_text(f"import pandas\n# {number}\n")
    return folder


def ask(process: ScanProcess, limit: int = 100) -> ScanHandle:
    handle = process.ask(("pandas",), "substring", limit, seconds=60, max_bytes=10**9)
    with handle.changed:
        assert handle.changed.wait_for(lambda: handle.is_over, 120)
    return handle


def test_it_gives_the_same_results_as_a_scan_in_this_process(start: Start, code: Path) -> None:
    handle = ask(start(f"files:{code}"))
    assert handle.error is None and handle.newest is not None
    assert handle.newest.done
    assert (handle.newest.report["scanned"], handle.newest.report["kept"], len(handle.newest.samples)) == (30, 30, 30)


def test_refused_requests_keep_their_error_type(start: Start, tmp_path: Path) -> None:
    handle = ask(start(f"files:{tmp_path}/nowhere"))
    assert isinstance(handle.error, InputError)
    assert "nowhere" in str(handle.error)


def test_it_has_no_secret_and_a_home_of_its_own(tmp_path: Path) -> None:
    seen = environment(
        tmp_path,
        {
            "HF_TOKEN": "x",
            "PIPELINE_OWNER_KEY": "x",
            "OPENAI_API_KEY": "x",
            "PATH": "/bin",
            "HF_HUB_CACHE": "/y",
            "HOME": "/z",
        },
    )
    assert "x" not in seen.values()
    assert {seen["HOME"], seen["HF_HOME"], seen["TMPDIR"]} == {str(tmp_path)}
    assert "HF_HUB_CACHE" not in seen
    assert seen["HF_HUB_DISABLE_IMPLICIT_TOKEN"] == "1"


def test_its_folder_is_deleted_when_it_ends(start: Start, code: Path) -> None:
    process = start(f"files:{code}")
    ask(process)
    assert process._folder.exists()
    process.end("enough")
    eventually(lambda: not process._folder.exists())


def test_a_source_that_takes_too_much_memory_is_reported_in_one_sentence(start: Start, code: Path) -> None:
    (code / "large.jsonl").write_text(json.dumps({"content": "import pandas\n" + "x" * 15_000_000}) + "\n")
    for number in range(10):
        (code / f"large{number}.jsonl").symlink_to(code / "large.jsonl")
    needed = start(f"files:{code}")
    assert ask(needed).error is None, "control"
    handle = ask(start(f"files:{code}", memory_bytes=260 * 2**20))
    assert "0.3 GB of memory that it may take" in str(handle.error)


def test_a_process_that_writes_invalid_responses_is_ended(
    start: Start, code: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (code / "liar.py").write_text("print('[1, 2]', flush=True)\nimport time\ntime.sleep(60)\n")
    monkeypatch.setattr(module, "MODULE", "liar")
    monkeypatch.setattr(module, "environment", lambda folder: {"PYTHONPATH": str(code)})
    process = start("installed")
    handle = ask(process)
    assert "it wrote an invalid response" in str(handle.error)
    eventually(lambda: not psutil.pid_exists(process.pid))


def test_a_process_that_writes_a_line_without_end_is_ended(
    start: Start, code: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (code / "liar.py").write_text("while True: print('x' * 2**20, end='', flush=True)\n")
    monkeypatch.setattr(module, "MODULE", "liar")
    monkeypatch.setattr(module, "environment", lambda folder: {"PYTHONPATH": str(code)})
    assert "it wrote an invalid response" in str(ask(start("installed")).error)


PARENT = """
import sys, time
from pathlib import Path
from pipeline.data.preview.process import ScanProcess
from tests.waiting import eventually
process = ScanProcess("installed", builders=False, scratch=Path(sys.argv[1]))
print(process.pid, flush=True)
time.sleep(60)
"""


def test_it_ends_when_the_page_is_killed(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "scratch")],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert psutil.pid_exists(child)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    eventually(lambda: is_gone(child))
