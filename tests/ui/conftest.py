"""Fixtures: homes with runs and corpora on disk, and the real page on one of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import pytest
from fastapi import Request

from pipeline.core.paths import Home
from pipeline.core.settings import Settings
from pipeline.hub.publisher import Publisher
from pipeline.jobs import worker
from tests.checkpoints import write_checkpoint
from tests.homes import write_corpus, write_run
from tests.page import Page

OWNER_KEY = "correct horse battery staple"


def request_of(host: str = "127.0.0.1:7860", *, session_hash: str = "browser-one", **headers: str) -> gr.Request:
    """A request as a handler receives it. `headers`: names with underscores for hyphens."""
    named = {"host": host, **{name.replace("_", "-"): value for name, value in headers.items()}}
    raw = [(name.encode(), value.encode()) for name, value in named.items()]
    return gr.Request(Request({"type": "http", "client": ("10.0.0.7", 1), "headers": raw}), session_hash=session_hash)


class Clock:
    """A clock that advances only when a test sets `now`."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of a home with one ready corpus; requests wake no worker, so nothing starts."""
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
