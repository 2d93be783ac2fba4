"""The generator process with many visitors, many new revisions and many damaged ones."""

from __future__ import annotations

import random
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from pipeline.artifacts.revision import Registry, Revision
from pipeline.core.errors import PipelineError
from pipeline.core.paths import Home
from pipeline.core.settings import Settings
from pipeline.generation.process import Generator
from pipeline.generation.settings import Sampling
from tests.generation.models import push, seal, tiny_model, write_revision

pytestmark = pytest.mark.slow

VISITORS, REQUESTS, SWAPS, DAMAGED = 32, 10, 200, 260
PROMPTS = ("import pandas as pd\n", "def mean(x):\n", "# plot\nplt.", "for a in range(3):\n", "é🦜 = [")
NEW_TOKENS = 12


@pytest.fixture
def generator(tmp_path: Path) -> Iterator[Generator]:
    with closing(Generator(Settings(home=tmp_path / "home"))) as generator:
        yield generator


def request_of(number: int) -> tuple[str, Sampling]:
    """A prompt and settings that no other number has."""
    samples = 1 + number % 3
    sampling = Sampling(
        max_new_tokens=NEW_TOKENS, temperature=1, top_p=0.9 + number % 2 / 10, seed=number, samples=samples
    )
    return f"# {number}\n{PROMPTS[number % len(PROMPTS)]}", sampling


def test_32_visitors_get_each_answer_that_they_get_alone(generator: Generator, tmp_path: Path) -> None:
    revision = write_revision(tmp_path / "revision")

    def ask(number: int, visitor: int, generator: Generator) -> list[str]:
        prompt, sampling = request_of(number)
        return generator.generate(revision, prompt, sampling, visitor=f"visitor {visitor}")["samples"]

    with ThreadPoolExecutor(VISITORS) as pool:

        def visit(visitor: int) -> list[list[str]]:
            return [ask(visitor * REQUESTS + number, visitor, generator) for number in range(REQUESTS)]

        together = [texts for answers in pool.map(visit, range(VISITORS)) for texts in answers]
    with closing(Generator(Settings(home=tmp_path / "other"))) as other:  # without what the first one has cached
        alone = [ask(number, 0, other) for number in range(VISITORS * REQUESTS)]
    assert together == alone
    assert len({tuple(texts) for texts in alone}) > 300, "control: hardly any two are the same"


def test_200_new_revisions_are_swapped_in_under_load(generator: Generator, tmp_path: Path) -> None:
    """Each visitor asks for the newest revision again and again; each answer is what the revision that it names writes."""
    settings = Settings(home=tmp_path / "home")
    registry = Registry(Home(settings.home), settings.repo)
    pushed = push(settings, 0, tiny_model(seed=0))
    is_over, was_answered = threading.Event(), threading.Condition()
    answered: set[str] = set()
    sampling = Sampling(max_new_tokens=4, temperature=0)

    def visit(visitor: int) -> list[tuple[Revision, str]]:
        answers: list[tuple[Revision, str]] = []
        while not is_over.is_set():
            revision = registry.newest()
            assert revision is not None
            answer = generator.generate(revision, PROMPTS[0], sampling, visitor=f"visitor {visitor}")
            assert answer["revision"] == revision.revision
            answers.append((revision, answer["samples"][0]))
            with was_answered:
                answered.add(revision.revision)
                was_answered.notify_all()
        return answers

    with ThreadPoolExecutor(4) as pool:
        visits = [pool.submit(visit, visitor) for visitor in range(4)]
        try:
            for step in range(1, SWAPS + 1):
                with was_answered:  # by one visitor; the others still ask for older ones
                    assert was_answered.wait_for(lambda newest=pushed: newest.revision in answered, timeout=300)
                pushed = push(settings, step, tiny_model(seed=step))
        finally:
            is_over.set()
        answers = [answer for found in visits for answer in found.result()]
    by_revision: dict[Revision, set[str]] = {}
    for revision, text in answers:
        by_revision.setdefault(revision, set()).add(text)
    assert len(by_revision) >= SWAPS
    assert all(len(texts) == 1 for texts in by_revision.values())
    with closing(Generator(Settings(home=tmp_path / "other"))) as other:
        for revision, texts in random.Random(0).sample(sorted(by_revision.items(), key=lambda pair: pair[0].step), 20):
            assert other.generate(revision, PROMPTS[0], sampling)["samples"] == list(texts)


def damage(folder: Path, rng: random.Random) -> str:
    """Damage a file of a revision as a torn download or a bad disk does; what was done."""
    path = rng.choice([path for path in sorted(folder.iterdir()) if path.name != "README.md"])
    data = bytearray(path.read_bytes())
    how = rng.choice(["cut", "flip", "empty", "gone", "zeros", "swapped"])
    if how == "gone":
        path.unlink()
        return f"{path.name} {how}"
    at = rng.randrange(len(data))
    if how == "cut":
        del data[at:]
    elif how == "flip":
        data[at] ^= 1 << rng.randrange(8)
    elif how == "empty":
        data.clear()
    elif how == "zeros":
        data[at : at + 64] = bytes(len(data[at : at + 64]))
    else:
        data[at:] = reversed(data[at:])
    path.write_bytes(data)
    return f"{path.name} {how} {at}"


@pytest.mark.parametrize(
    ("is_sealed", "count"), [(False, DAMAGED), (True, 60)], ids=["as it is", "with a manifest of the damage"]
)
def test_260_damaged_revisions_are_refused_or_write_what_the_whole_one_writes(
    generator: Generator, tmp_path: Path, is_sealed: bool, count: int
) -> None:
    """Without a new manifest each damage is noticed. With one, what is not noticed must not have ended the process."""
    revision = write_revision(tmp_path / "revision")
    sampling = Sampling(max_new_tokens=4, temperature=0)
    whole = generator.generate(revision, PROMPTS[0], sampling)["samples"]
    rng = random.Random(0)
    refused = 0
    for number in range(count):
        folder = tmp_path / f"damaged {number}"
        shutil.copytree(revision.path, folder)
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        what = damage(folder, rng)
        if before == {path.name: path.read_bytes() for path in folder.iterdir()}:
            shutil.rmtree(folder)  # zeros over zeros
            continue
        damaged = (
            seal(folder) if is_sealed else Revision(**{**vars(revision), "path": folder, "revision": f"{number:012}"})
        )
        try:
            texts = generator.generate(damaged, PROMPTS[0], sampling)["samples"]
        except PipelineError as error:
            refused += 1
            assert str(error).endswith(".")
            assert "Traceback" not in str(error)
        else:
            assert is_sealed or texts == whole, what
            assert is_sealed or what.startswith(("provenance.json", "generation_config.json")), what
        shutil.rmtree(folder)
    assert refused > (count // 3 if is_sealed else 0.9 * count)
    assert generator.generate(revision, PROMPTS[1], sampling)["samples"], "and the process goes on"
