"""Fixtures with one small model and one revision. A test that damages a revision must use `copy`."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast

from pipeline.artifacts.revision import Revision
from pipeline.core.settings import Limits, Settings
from pipeline.generation.process import Generator
from tests.generation.conversation import Conversation
from tests.generation.models import insist_on, tiny_model, tiny_tokenizer, write_revision

LONG = 16_384
"""Positions of the model that is stopped mid-stream: it generates for half a minute."""


@pytest.fixture(scope="session")
def model() -> GPT2LMHeadModel:
    return tiny_model()


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return tiny_tokenizer()


@pytest.fixture(scope="session")
def revision(tmp_path_factory: pytest.TempPathFactory) -> Revision:
    """Generates random tokens. Read-only."""
    return write_revision(tmp_path_factory.mktemp("revision"), tiny_model(n_positions=256))


@pytest.fixture(scope="session")
def endless(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> Revision:
    """Repeats ` the` and never generates the end-of-text token. Read-only."""
    (token_id,) = tokenizer.encode(" the")
    return write_revision(tmp_path_factory.mktemp("endless"), insist_on(tiny_model(n_positions=LONG), token_id))


@pytest.fixture
def copy(revision: Revision, tmp_path: Path) -> Path:
    """A copy of the folder of `revision` that the test may damage."""
    return Path(shutil.copytree(revision.path, tmp_path / "copy"))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", limits=Limits(new_tokens=LONG))


@pytest.fixture
def generator(settings: Settings) -> Iterator[Generator]:
    generator = Generator(settings)
    yield generator
    generator.close()


@pytest.fixture(scope="module")
def conversations(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Conversation]]:
    """Returns the running generator, or a new one if the last was ended by a test: its start takes ten seconds."""
    started: list[Conversation] = []

    def conversation() -> Conversation:
        if not started or started[-1].process.poll() is not None:
            started.append(Conversation(tmp_path_factory.mktemp("generator") / "log"))
        return started[-1]

    yield conversation
    for each in started:
        with each.process as process:
            process.kill()


@pytest.fixture
def talk(conversations: Callable[[], Conversation]) -> Iterator[Conversation]:
    """A generator that writes nothing; what a test leaves open is stopped after it."""
    talk = conversations()
    yield talk
    if talk.process.poll() is None:
        for request_id in talk.open:
            talk.say({"stop": request_id})
        while talk.open:
            talk.hear()
