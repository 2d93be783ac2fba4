"""One small corpus for all tests of this package. Each test gets its own home with a copy of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.core.paths import Home
from tests.training.runs import copy_home, make_corpus


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Read only."""
    home = Home(tmp_path_factory.mktemp("template") / "home")
    make_corpus(home.corpus("python"))
    return home


@pytest.fixture
def home(template: Home, tmp_path: Path) -> Home:
    return copy_home(template, tmp_path / "home")
