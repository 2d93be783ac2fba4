"""Fixtures: a public page that most attacks share, pages without a guard as controls, figures printed at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.paths import Home
from tests.browser.conftest import browser  # noqa: F401 - a fixture, made available to this package
from tests.homes import end_jobs
from tests.security.public import PublicPage, weakened

Figures = Callable[..., None]
Weaken = Callable[..., PublicPage]

LINES: list[str] = []


@pytest.fixture(scope="session")
def public(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PublicPage]:
    page = PublicPage(tmp_path_factory.mktemp("public"))
    page.start()
    yield page
    page.kill()
    end_jobs(Home(page.home))


@pytest.fixture
def weaken(tmp_path: Path) -> Iterator[Weaken]:
    """Starts the page without the named guard, on a home of its own."""
    pages: list[PublicPage] = []

    def start(guard: str, **environment: str) -> PublicPage:
        pages.append(weakened(guard)(tmp_path / f"without-{len(pages)}", **environment))
        pages[-1].start()
        return pages[-1]

    yield start
    for page in pages:
        page.kill()
        end_jobs(Home(page.home))


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Figures:
    """Records one line of named figures."""

    def record(**numbers: Any) -> None:
        LINES.append(f"{request.node.name}: " + ", ".join(f"{name} {value}" for name, value in numbers.items()))

    return record


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if LINES:
        terminalreporter.section("what came of the attacks")
    for line in LINES:
        terminalreporter.line(line)
