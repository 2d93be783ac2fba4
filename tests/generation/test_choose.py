from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.artifacts.revision import Registry, Revision
from pipeline.core.errors import InputError
from pipeline.core.paths import Home
from pipeline.core.settings import Settings
from pipeline.generation.choose import choose
from pipeline.generation.process import generate
from pipeline.generation.settings import Sampling
from tests.generation.models import tiny_model, write_revision


def push(settings: Settings, step: int) -> Revision:
    """A checkpoint on its way into the registry, by the registry's own code."""
    home = Home(settings.home)
    checkpoint = home.run("small-otter").checkpoint(step)
    write_revision(checkpoint, tiny_model(seed=step), repo=None, step=step)
    return Registry(home, settings.repo).add(checkpoint)


def test_the_newest_is_taken_unless_another_is_named(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    first, second = push(settings, 10), push(settings, 20)
    assert choose(settings) == choose(settings, "newest") == second
    assert choose(settings, first.revision) == choose(settings, first.revision[:6]) == first


def test_without_a_push_the_remedy_is_to_train(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^No checkpoint has been pushed yet; train a model first, or wait"):
        choose(Settings(home=tmp_path), "abcd1234")


def test_an_unknown_name_is_answered_with_what_there_is(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    pushed = push(settings, 10)
    with pytest.raises(InputError, match=pushed.revision):
        choose(settings, "ffff0000ffff")


@pytest.mark.slow
def test_what_was_pushed_writes(tmp_path: Path) -> None:
    """The whole of the command line's way: registry, process, model."""
    settings = Settings(home=tmp_path)
    push(settings, 10)
    pushed = push(settings, 20)
    answer = generate(settings, "import pandas", sampling=Sampling(max_new_tokens=4, samples=2))
    assert (answer["revision"], answer["run"], answer["step"]) == (pushed.revision, "small-otter", 20)
    assert len(answer["samples"]) == 2
