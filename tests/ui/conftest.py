"""Homes with runs and corpora on disk, and the real page on one of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.folders import Home
from pipeline.hub.publisher import Publisher
from pipeline.jobs import worker
from pipeline.settings import Settings
from tests.checkpoints import write_checkpoint
from tests.homes import write_corpus, write_run
from tests.page import Page

OWNER_KEY = "correct horse battery staple"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A home with one ready corpus; requests wake no worker, so that nothing starts."""
    monkeypatch.setattr(worker, "wake", lambda settings: None)
    write_corpus(Home(tmp_path / "home"), "ready")
    return Settings(home=tmp_path / "home")


@pytest.fixture
def home(settings: Settings) -> Home:
    return Home(settings.home)


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A page on loopback, with one finished run and its revision."""
    home = Home(tmp_path_factory.mktemp("page") / "home")
    write_run(home, "calm-kea")
    write_checkpoint(home.run("calm-kea"), 20)
    Publisher(Settings(home=home.path)).publish_once()
    page = Page(home.path, PIPELINE_OWNER_KEY=OWNER_KEY)
    page.start()
    yield page
    page.kill()
