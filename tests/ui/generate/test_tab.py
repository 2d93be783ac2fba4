"""Whose request is stopped, and whom turns and quotas count by."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from starlette.requests import Request

from pipeline.core.settings import Settings
from pipeline.generation.text_chunk import TextChunk
from pipeline.ui.generate.tab import GenerateTab
from pipeline.ui.server.api import Api
from pipeline.ui.shared.engine import Engine
from pipeline.ui.shared.visitors import COOKIE, new_cookie

OWN, OTHER = new_cookie(), new_cookie()


class Written:
    """Keeps how the generator was called."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.stopped: list[str] = []

    def stream(self, *asked: Any, **named: str) -> list[TextChunk]:
        self.calls.append(named)
        return [
            TextChunk(sample=0, place=3),
            TextChunk(sample=0, text="x", tokens=1, seconds=1.0),
            TextChunk(sample=0, done=True),
        ]

    def generate(self, *asked: Any, **named: str) -> dict[str, Any]:
        self.calls.append(named)
        return {}

    def stop(self, asked_by: str) -> None:
        self.stopped.append(asked_by)


@pytest.fixture
def generator() -> Written:
    return Written()


@pytest.fixture
def engine(tmp_path: Path, generator: Written, monkeypatch: pytest.MonkeyPatch) -> Engine:
    engine = Engine(Settings(home=tmp_path / "home"))
    engine.__dict__["generator"] = generator
    revision = SimpleNamespace(revision="0" * 12, run="r", step=1, eval_loss=1.0)
    for module in ("generate.tab", "server.api"):
        monkeypatch.setattr(f"pipeline.ui.{module}.choose", lambda settings, name: revision)
    return engine


def asked(session: str | None, cookie: str = OWN, host: str = "studio.example") -> gr.Request:
    headers = [(b"host", host.encode()), (b"cookie", f"{COOKIE}={cookie}".encode())]
    scope = {"type": "http", "client": ("8.8.8.8", 1), "headers": headers, "query_string": b"", "path": "/"}
    return gr.Request(request=Request(scope), session_hash=session)


def test_without_a_session_nothing_is_stopped(engine: Engine, generator: Written) -> None:
    """`stop("")` is nobody's: tests/generation/test_process.py."""
    GenerateTab(engine).halt(asked(None))
    GenerateTab(engine).halt(asked(""))
    assert set(generator.stopped) == {""}


def test_a_page_stops_its_own_and_needs_the_cookie_for_it(engine: Engine, generator: Written) -> None:
    tab = GenerateTab(engine)
    for request in (asked("s"), asked("s", OTHER), asked("t")):
        tab.halt(request)
    assert len(set(generator.stopped)) == 3
    tab.halt(asked("s"))
    assert generator.stopped[-1] == generator.stopped[0] != ""


@pytest.mark.parametrize(("host", "visitor"), [("studio.example", "8.8.8.8"), ("127.0.0.1:7860", "")])
def test_visitors_count_by_address_and_the_owner_does_not(
    engine: Engine, generator: Written, host: str, visitor: str
) -> None:
    Api(engine).generate(asked(None, host=host), "import")
    assert [call["visitor"] for call in generator.calls] == [visitor]


def test_the_place_in_the_queue_is_shown_until_text_comes(
    engine: Engine, generator: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.ui.generate.tab.FRAME_SECONDS", 0.0)
    monkeypatch.setattr("pipeline.ui.generate.tab.Result", lambda *values: None)
    tab = GenerateTab(engine)
    with gr.Blocks() as page, gr.Tabs() as tabs:
        with gr.Tab("x") as one:
            tab.build()
        tab.connect(page, tabs, one)
    frames = [update[tab.written] for update in tab._write(asked("s"), "import", "newest", "", 0.6, 0.95, 0, 8, 1, 0)]
    assert ["Place 3 in the queue" in frame for frame in frames] == [False, True, False, False, False]
    assert generator.calls[0]["visitor"] == "8.8.8.8" and generator.calls[0]["asked_by"].startswith(OWN)
