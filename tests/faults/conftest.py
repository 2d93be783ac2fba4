"""One small corpus, the undisturbed reference runs, and the tallies, which are printed at the end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.paths import Home
from tests.faults.trials import Tally, Undisturbed, undisturbed_run
from tests.training.runs import copy_home, make_corpus

TALLIES: list[Tally] = []


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Read only."""
    home = Home(tmp_path_factory.mktemp("template") / "home")
    make_corpus(home.corpus("python"))
    return home


@pytest.fixture
def home(template: Home, tmp_path: Path) -> Home:
    return copy_home(template, tmp_path / "home")


class References:
    """Undisturbed runs, each trained once."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._cached: dict[str, Undisturbed] = {}

    def __call__(self, **changes: Any) -> Undisturbed:
        key = json.dumps(changes, sort_keys=True)
        if key not in self._cached:
            self._cached[key] = undisturbed_run(self._home, f"undisturbed-{len(self._cached)}", **changes)
        return self._cached[key]


@pytest.fixture(scope="session")
def undisturbed(template: Home, tmp_path_factory: pytest.TempPathFactory) -> References:
    references = References(copy_home(template, tmp_path_factory.mktemp("undisturbed") / "home"))
    references(max_steps=1)  # the first forked process waits until torch is loaded
    return references


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Iterator[Tally]:
    counted = Tally(request.node.name)
    yield counted
    TALLIES.append(counted)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if TALLIES:
        terminalreporter.section("results of the faults")
    for counted in TALLIES:
        terminalreporter.line(str(counted))
