"""One small model and one revision for the tests of this room; who damages a revision copies it first."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast

from pipeline.artifacts.revision import Revision
from pipeline.core.settings import Limits, Settings
from pipeline.generation.process import Generator
from tests.generation.models import insist_on, tiny_model, tiny_tokenizer, write_revision

LONG = 16_384
"""Positions of the model that is stopped in mid-stream: it writes for half a minute."""


@pytest.fixture(scope="session")
def model() -> GPT2LMHeadModel:
    return tiny_model()


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return tiny_tokenizer()


@pytest.fixture(scope="session")
def revision(tmp_path_factory: pytest.TempPathFactory) -> Revision:
    """Writes at random. Read only."""
    return write_revision(tmp_path_factory.mktemp("revision"), tiny_model(n_positions=256))


@pytest.fixture(scope="session")
def endless(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> Revision:
    """Writes ` the` and never ends by itself. Read only."""
    (token_id,) = tokenizer.encode(" the")
    return write_revision(tmp_path_factory.mktemp("endless"), insist_on(tiny_model(n_positions=LONG), token_id))


@pytest.fixture
def copy(revision: Revision, tmp_path: Path) -> Path:
    """A revision's folder of one's own, to damage."""
    return Path(shutil.copytree(revision.path, tmp_path / "copy"))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", limits=Limits(new_tokens=LONG))


@pytest.fixture
def generator(settings: Settings) -> Iterator[Generator]:
    generator = Generator(settings)
    yield generator
    generator.close()
