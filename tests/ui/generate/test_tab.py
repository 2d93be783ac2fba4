"""Which request a stop ends, and which visitor the turns and quotas count for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from starlette.requests import Request

from pipeline.core.settings import Settings
from pipeline.gallery.example import Example
from pipeline.generation.text_chunk import TextChunk
from pipeline.ui.generate.tab import GenerateTab
from pipeline.ui.server.api import Api
from pipeline.ui.shared.engine import Engine
from pipeline.ui.shared.visitors import COOKIE, new_cookie

OWN, OTHER = new_cookie(), new_cookie()
EXAMPLE = Example(
    id="aaaaaaaa", repo="local", prompt="import", settings={}, seed=0, revision="0" * 12, run="r", step=1, texts=["x"],
    title="", created_at="2026-01-01T00:00:00Z", eval_loss=None,
)  # fmt: skip


class RecordingGenerator:
    """A generator that records its calls."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.stopped: list[str] = []
        self.finish = "length"

    def batches(self, *asked: Any, **named: str) -> list[list[TextChunk]]:
        self.calls.append(named)
        return [
            [],
            [TextChunk(sample=0, place=3)],
            [TextChunk(sample=0, text="import x", tokens=1, seconds=1.0)],
            [TextChunk(sample=0, done=True, finish=self.finish)],
        ]

    def generate(self, *asked: Any, **named: str) -> dict[str, Any]:
        self.calls.append(named)
        return {}

    def stop(self, asked_by: str) -> None:
        self.stopped.append(asked_by)


@pytest.fixture
def generator() -> RecordingGenerator:
    return RecordingGenerator()


@pytest.fixture
def engine(tmp_path: Path, generator: RecordingGenerator, monkeypatch: pytest.MonkeyPatch) -> Engine:
    engine = Engine(Settings(home=tmp_path / "home"))
    engine.__dict__["generator"] = generator
    revision = SimpleNamespace(repo="local", revision="0" * 12, run="r", step=1, eval_loss=1.0, commit=None, path="")
    engine.__dict__["revisions"] = SimpleNamespace(choose=lambda name: revision, to_download=lambda name: None)
    return engine


def asked(session: str | None, cookie: str = OWN, host: str = "studio.example") -> gr.Request:
    headers = [(b"host", host.encode()), (b"cookie", f"{COOKIE}={cookie}".encode())]
    scope = {"type": "http", "client": ("8.8.8.8", 1), "headers": headers, "query_string": b"", "path": "/"}
    return gr.Request(request=Request(scope), session_hash=session)


def test_without_a_session_nothing_is_stopped(engine: Engine, generator: RecordingGenerator) -> None:
    """`stop("")` stops nothing: tests/generation/test_process.py."""
    GenerateTab(engine).halt(asked(None))
    GenerateTab(engine).halt(asked(""))
    assert set(generator.stopped) == {""}


def test_a_page_stops_its_own_request_and_needs_its_cookie(engine: Engine, generator: RecordingGenerator) -> None:
    tab = GenerateTab(engine)
    for request in (asked("s"), asked("s", OTHER), asked("t")):
        tab.halt(request)
    assert len(set(generator.stopped)) == 3
    tab.halt(asked("s"))
    assert generator.stopped[-1] == generator.stopped[0] != ""


@pytest.mark.parametrize(("host", "visitor"), [("studio.example", "8.8.8.8"), ("127.0.0.1:7860", "")])
def test_visitors_are_counted_by_address_and_the_owner_is_not(
    engine: Engine, generator: RecordingGenerator, host: str, visitor: str
) -> None:
    Api(engine).generate(asked(None, host=host), "import")
    assert [call["visitor"] for call in generator.calls] == [visitor]


def frames(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the completion card shows, from the first update to the last."""
    monkeypatch.setattr("pipeline.ui.generate.writing.UPDATE_SECONDS", 0.0)
    tab = connected(engine)
    return [
        update[tab.written]
        for update in tab._write(asked("s"), "import", "newest", "", 0.6, 0.95, 0, 8, 1, 0, "length")
    ]


def connected(engine: Engine) -> GenerateTab:
    tab = GenerateTab(engine)
    with gr.Blocks() as page, gr.Tabs() as tabs:
        with gr.Tab("x") as one:
            tab.build()
        tab.connect(page, tabs, one)
    return tab


def test_the_position_in_the_queue_is_shown_until_text_comes(
    engine: Engine, generator: RecordingGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = frames(engine, monkeypatch)
    assert ["Place 3 in the queue" in frame for frame in found] == [False, True, False, False]
    assert generator.calls[0]["visitor"] == "8.8.8.8" and generator.calls[0]["asked_by"].startswith(OWN)


def test_text_is_highlighted_in_the_last_update_only(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    found = frames(engine, monkeypatch)
    assert ["syn-keyword" in frame for frame in found] == [False, False, False, True]
    assert ["import x" in frame for frame in found] == [False, False, True, False]  # the last one has a span in it


@pytest.mark.parametrize(("finish", "word"), [("length", "Finished"), ("stopped", "Stopped")])
def test_a_stopped_completion_does_not_say_finished(
    engine: Engine, generator: RecordingGenerator, monkeypatch: pytest.MonkeyPatch, finish: str, word: str
) -> None:
    generator.finish = finish
    found = frames(engine, monkeypatch)
    assert [word in frame for frame in found] == [False, False, False, True]
    assert found[-1].count("pill ") == 1


def test_a_remix_clears_what_was_written_for_another_prompt(engine: Engine) -> None:
    tab = connected(engine)
    engine.__dict__["revisions"] = SimpleNamespace(known=list)
    updates = tab.fill(EXAMPLE, asked("s"))
    assert "Nothing written yet" in updates[tab.written]
    assert (updates[tab.result], updates[tab.link], updates[tab.prompt]) == (None, "", "import")


@pytest.mark.parametrize(
    ("kept", "shown"), [("line", "line"), (None, "length"), ("<script>", "length"), ([], "length")]
)
def test_an_example_gives_back_where_it_ended_and_an_odd_one_the_default(
    engine: Engine, kept: object, shown: str
) -> None:
    tab = connected(engine)
    engine.__dict__["revisions"] = SimpleNamespace(known=list)
    example = replace(EXAMPLE, settings={} if kept is None else {"stop_at": kept})
    assert tab.fill(example, asked("s"))[tab.stop_at] == shown


@pytest.mark.parametrize("session", ["s", "t"])
def test_what_is_still_written_for_this_page_does_not_overwrite_an_opened_example(
    engine: Engine, generator: RecordingGenerator, monkeypatch: pytest.MonkeyPatch, session: str
) -> None:
    monkeypatch.setattr("pipeline.ui.generate.writing.UPDATE_SECONDS", 0.0)
    tab = connected(engine)
    engine.revisions.known = list  # type: ignore[method-assign]
    writing = tab._write(asked("s"), "import", "newest", "", 0.6, 0.95, 0, 8, 1, 0, "length")
    next(writing)
    tab.fill(EXAMPLE, asked(session))
    assert len(list(writing)) == (0 if session == "s" else 3)
    assert any(key.endswith(f":{session}") for key in generator.stopped)
