"""Preparations from the package index: the same with any number of workers, resumed after a fault, without the login."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.atomic_io import read_json, write_json
from pipeline.core.credentials import full_environment
from pipeline.core.environment import child_environment
from pipeline.core.paths import ROOT, CorpusFolder, Home
from tests.data.test_hub_faults import made
from tests.package_index import PackageIndex, plot, sdist, wheel

pytestmark = pytest.mark.slow

NUM_FILES = 40
NAMES = ("one", "two", "three", "four")


def projects() -> dict[str, Any]:
    found = {}
    for project in NAMES:
        files = {f"examples/a{n}.py": plot(n) + f"# {project}\n" * n for n in range(NUM_FILES)}
        found[project] = [sdist(project, "1.0", {**files, "src/x.py": "x = 1\n"})]
    return {**found, "binary": [wheel("binary", "1.0")]}


def prepare(index: PackageIndex, folder: Path, workers: int) -> tuple[int, str]:
    """Exit status and standard error of the job."""
    corpus = CorpusFolder(Home(folder).corpus("code").path)
    corpus.path.mkdir(parents=True, exist_ok=True)
    config = {"source": f"pypi:{','.join(NAMES)},binary#examples", "keywords": ["matplotlib"], "vocab_size": 300}
    request = {"request_id": "r1", "kind": "prepare", "config": config, "workforce": {"workers": workers}}
    write_json(corpus.request, request)
    index.requests.clear()
    environment = child_environment({**full_environment(), **index.environment()}, with_index=True)
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.data", str(corpus.path)],
        cwd=ROOT,
        env={**environment, "PIPELINE_HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stderr


def downloads(index: PackageIndex) -> list[str]:
    return sorted(path for path in index.requests if path.startswith("/files/"))


def test_workers_and_a_fault_in_between_change_nothing(tmp_path: Path) -> None:
    with PackageIndex(projects(), login="user:sesame-sesame") as index:
        assert prepare(index, tmp_path / "one", 1) == (0, "")
        expected = made(tmp_path / "one")
        assert expected["report"]["scanned"] == expected["report"]["kept"] == NUM_FILES * len(NAMES)
        assert expected["report"]["bad_rows"] == {"no source distribution (.tar.gz)": 1}
        assert prepare(index, tmp_path / "two", 2) == (0, "")
        assert made(tmp_path / "two") == expected

        # ---- the index fails at the third project; the archives that are here are not downloaded again ----
        index.status["/files/three"] = 503
        status, errors = prepare(index, tmp_path / "fault", 1)
        failed = read_json(CorpusFolder(Home(tmp_path / "fault").corpus("code").path).status) or {}
        assert (status, failed["state"]) == (1, "failed")
        assert errors.strip() == failed["error"]
        assert failed["error"].startswith("The package index cannot answer now (status 503); try again later")
        del index.status["/files/three"]
        assert prepare(index, tmp_path / "fault", 1) == (0, "")
        assert downloads(index) == ["/files/four-1.0.tar.gz", "/files/three-1.0.tar.gz"]
        assert made(tmp_path / "fault") == expected

        written = [path for path in tmp_path.rglob("*") if path.is_file() and b"sesame" in path.read_bytes()]
        assert written == []


def test_a_project_that_does_not_exist_fails_the_job_for_good(tmp_path: Path) -> None:
    found = projects()
    del found["three"]
    with PackageIndex(found) as index:
        status, errors = prepare(index, tmp_path, 1)
    assert status == 2
    assert errors == "The package index has no project 'three'; check the name.\n"


def test_a_job_without_the_variables_uses_no_index(tmp_path: Path) -> None:
    """Control: what `with_index` adds is needed."""
    with PackageIndex(projects()) as index:
        environment = child_environment({**os.environ, **index.environment()})
    assert "PIP_INDEX_URL" not in environment
