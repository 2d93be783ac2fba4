"""Fixtures and settings of every test."""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from pipeline.core.environment import INDEX_VARIABLES
from pipeline.core.paths import ROOT, Home, RunFolder

# No deadline: on a loaded machine a correct test may be slow.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


# Pages, jobs and commands that tests start read these as pip does: no test asks an index that it has not started.
os.environ.update(PIP_NO_INDEX="1", PIP_CONFIG_FILE=os.devnull)
for name in INDEX_VARIABLES:
    os.environ.pop(name, None)

HF_HOME = os.environ.get("HF_HOME")
WHOLE_WAY = "tests/browser/test_whole_way.py"
IN_ONE_PROCESS = {
    WHOLE_WAY: "security",  # as long as all of them: it evens out the two chains
    "tests/browser/": "browser",
    "tests/security/": "security",
}
"""Tests that look at the responses of a page, and at how long they take, run one after another in one test process:
start of their names -> its name. These two are the longest chains of the suite, and start first.
"""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Divides the tests among the test processes. xdist's own groups have no effect with pytest 9.2."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            chain = next((name for start, name in IN_ONE_PROCESS.items() if nodeid.startswith(start)), None)
            file, _, _ = nodeid.partition("::")
            return chain or (file if has_shared_fixtures(file) else nodeid)

    return Scheduling(config, log)


@functools.cache
def has_shared_fixtures(file: str) -> bool:
    """Whether tests of this file share a fixture, which every test process would otherwise make for itself."""
    return 'scope="module"' in (ROOT / file).read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """Restore the handlers of SIGTERM and SIGINT, which a job replaces."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def downloads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo what a command that ran in the test process, or the import of `app`, has set."""
    if HF_HOME is None:
        monkeypatch.delenv("HF_HOME", raising=False)
    else:
        monkeypatch.setenv("HF_HOME", HF_HOME)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """An empty home folder."""
    return Home(tmp_path / "home")


@pytest.fixture
def run(home: Home) -> RunFolder:
    """The folder of a run that was not requested yet."""
    return home.run("alpha")
