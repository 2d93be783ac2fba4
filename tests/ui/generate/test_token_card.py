"""What the page may ask to read, and with which tokens a revision reads it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from pipeline.artifacts.revision import Revision
from pipeline.core.atomic_io import write_json
from pipeline.core.errors import InputError
from pipeline.core.settings import Settings
from pipeline.gallery.example import Example
from pipeline.generation.reading import Guess, Inside, LayerView, ReadToken, TokenReading
from pipeline.generation.text_chunk import TextChunk
from pipeline.ui.generate.answers import Answer, Completion
from pipeline.ui.generate.readings import Asked, Written
from pipeline.ui.generate.token_card import TokenCard
from pipeline.ui.shared.engine import Engine
from tests.generation.models import push
from tests.ui.generate.test_tab import EXAMPLE, asked

PROMPT = "import"
READING = TokenReading(
    tokens=[ReadToken(text=text, loss=1.0, guesses=[Guess(text="<b>", probability=0.5)]) for text in ("import", " x")],
    num_given=1,
    engine="float32 on 1 core",
)
INSIDE = Inside(
    at=1, texts=["import", " x"], layers=[LayerView(guesses=[Guess(text=" x", probability=0.5)], heads=[[(0, 1.0)]])]
)


class RecordingReader:
    """A generator that records what it is to read."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def read(self, *what: Any, **who: Any) -> TokenReading:
        self.calls.append(what)
        return READING

    def look_inside(self, *what: Any, **who: Any) -> Inside:
        self.calls.append(what)
        return INSIDE


@pytest.fixture
def revisions(tmp_path: Path) -> list[Revision]:
    settings = Settings(home=tmp_path / "home")
    return [push(settings, step, window=128) for step in (10, 20)]


@pytest.fixture
def reader() -> RecordingReader:
    return RecordingReader()


@pytest.fixture
def tokens(tmp_path: Path, reader: RecordingReader) -> TokenCard:
    engine = Engine(Settings(home=tmp_path / "home"))
    engine.__dict__["generator"] = reader
    tokens = TokenCard(engine)
    with gr.Blocks():
        tokens.build()
    return tokens


def show(tokens: TokenCard, written: Written | None, value: object) -> tuple[Any, Any]:
    return asyncio.run(tokens.show_tokens(written, SimpleNamespace(value=value), asked("s")))  # type: ignore[arg-type]


def written(revision: Revision | Example, **changes: Any) -> Written:
    return replace(Written(PROMPT, [" x", " y"], [[5], [6]], revision), **changes)


def test_the_very_tokens_that_were_written_are_read(
    tokens: TokenCard, reader: RecordingReader, revisions: list[Revision]
) -> None:
    view, inside = show(tokens, written(revisions[1]), f"1 {revisions[1].revision}")
    assert reader.calls == [(revisions[1], PROMPT, [6])] and inside == ""
    assert "&lt;b&gt;" in view and "<b>" not in view.replace('<b class="', "")


def test_another_step_of_the_run_reads_them_too_and_the_slider_offers_both(
    tokens: TokenCard, reader: RecordingReader, revisions: list[Revision]
) -> None:
    view, _ = show(tokens, written(revisions[1]), f"0 {revisions[0].revision}")
    assert reader.calls == [(revisions[0], PROMPT, [5])]
    assert 'max="1" value="0"' in view and all(f"0 {revision.revision}" in view for revision in revisions)


def test_a_revision_with_another_tokenizer_reads_the_text(
    tokens: TokenCard, reader: RecordingReader, revisions: list[Revision], tmp_path: Path
) -> None:
    write_json(tmp_path / "manifest.json", {"files": {"tokenizer.json": {"sha256": "0", "size": 1}}})
    other = replace(revisions[0], path=tmp_path)
    show(tokens, written(revisions[1], other=other), f"0 {revisions[1].revision}")
    assert reader.calls == [(revisions[1], PROMPT, [5]), (other, PROMPT + " x", [])]


def test_a_kept_example_is_read_by_its_text(
    tokens: TokenCard, reader: RecordingReader, revisions: list[Revision]
) -> None:
    example = replace(EXAMPLE, revision=revisions[0].revision, texts=[" x"])
    completion = Completion(PROMPT, {}, [Answer(example, example.texts)], "finished", example=example)
    show(tokens, Written.of(completion), f"0 {example.revision}")
    assert reader.calls == [(revisions[0], PROMPT + " x", [])]


def test_one_token_is_looked_into(tokens: TokenCard, reader: RecordingReader, revisions: list[Revision]) -> None:
    _, inside = show(tokens, written(revisions[1]), f"0 {revisions[1].revision} 1")
    assert reader.calls == [(revisions[1], PROMPT, [5], 1)]
    assert "Inside: why “ x”?" in inside and "Layer 1" in inside


@pytest.mark.parametrize(
    "value",
    [None, "", "0", "x 000000000000", "0 ../etc", "0 000000000000 -1", "0 000000000000 1 2", "٣ 000000000000", {}],
)
def test_the_page_asks_only_for_samples_and_tokens(value: object) -> None:
    with pytest.raises(InputError, match="not a token"):
        Asked.of(value)


def test_a_revision_of_another_run_and_an_unknown_sample_are_refused(
    tokens: TokenCard, reader: RecordingReader, revisions: list[Revision]
) -> None:
    _, foreign = show(tokens, written(revisions[1]), "0 000000000000")
    _, missing = show(tokens, written(revisions[1]), f"2 {revisions[1].revision}")
    assert "is none of run small-otter" in foreign and "There is no such sample" in missing
    assert reader.calls == []


def test_nothing_is_offered_before_a_completion_and_while_one_is_written(revisions: list[Revision]) -> None:
    answer = Answer(revisions[0], [""])
    completion = Completion(PROMPT, {}, [answer])
    assert Written.of(completion) is None
    answer.add(TextChunk(sample=0, text=" x", token_ids=[5], tokens=1, done=True, finish="length"))
    assert Written.of(completion) is None
    completion.state = "finished"
    assert Written.of(completion) == Written(PROMPT, [" x"], [[5]], revisions[0])
    completion.answers.append(Answer(revisions[1], [" y"]))
    assert Written.of(completion) == Written(PROMPT, [" x"], [[5]], revisions[0], other=revisions[1])
