"""The generator makes way for a run. Real processes; the GPU is one in name only."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pipeline.artifacts.revision import Revision
from pipeline.core.errors import PipelineError
from pipeline.core.settings import Settings
from pipeline.generation import subprocess_client
from pipeline.generation.process import Generator, Training
from pipeline.generation.settings import Sampling
from tests.generation.test_subprocess_client import FAKE, processes_of
from tests.waiting import eventually

REVISION = Revision(
    repo="local", revision="0" * 12, run="r", step=1, corpus="c", pushed_at="", eval_loss=None, commit=None, path=Path("x")
)  # fmt: skip
ONE = Sampling(max_new_tokens=1)


class Runs:
    """What trains now, as the page would read it from disk."""

    def __init__(self) -> None:
        self.now: Training | None = None
        self.num_looks = 0

    def __call__(self) -> Training | None:
        self.num_looks += 1
        return self.now

    def start(self, run: str = "calm-kea", device: str | None = None) -> None:
        self.now = Training(request_id=f"{run} {time.monotonic()}", run=run, device=device)


@pytest.fixture
def runs() -> Runs:
    return Runs()


@pytest.fixture
def generator(tmp_path: Path, runs: Runs, monkeypatch: pytest.MonkeyPatch) -> Iterator[Generator]:
    monkeypatch.setattr(subprocess_client, "MODULE", FAKE)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    settings = Settings(home=tmp_path / "home")
    with closing(Generator(settings, silence_seconds=45, training=runs, poll_seconds=0.01)) as generator:
        yield generator  # a run that does not end it lets the silence end it, and the test fails


@pytest.fixture
def gpu(generator: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")


def answer(generator: Generator) -> tuple[str, list[str]]:
    """The device that wrote an answer, and its notes."""
    chunks = list(generator.stream(REVISION, "import", ONE))
    return "".join(chunk.text for chunk in chunks), [chunk.note for chunk in chunks if chunk.note]


def looked_again(runs: Runs) -> None:
    """Wait until the generator has looked at the runs twice, so that it has acted on what is there now."""
    before = runs.num_looks
    eventually(lambda: runs.num_looks >= before + 3)


@pytest.mark.usefixtures("gpu")
def test_a_run_on_its_gpu_ends_it_while_it_writes_and_until_the_end_of_the_run_it_writes_on_the_cpu(
    generator: Generator, runs: Runs
) -> None:
    assert answer(generator) == ("cuda", [])
    stream = generator.stream(REVISION, "endless", ONE)
    assert next(stream).text == "cuda"
    runs.start()
    with pytest.raises(PipelineError, match=r"ended \(run calm-kea started on its GPU\)\. Ask again"):
        list(stream)
    assert processes_of(module=FAKE) == []
    note = "Run calm-kea trains on the GPU, so this is written on the CPU, more slowly."
    assert answer(generator) == ("cpu", [note])
    assert answer(generator) == ("cpu", [note])
    runs.now = None
    assert answer(generator) == ("cuda", [])


@pytest.mark.usefixtures("gpu")
def test_a_run_on_the_cpu_leaves_one_on_the_gpu_alone(generator: Generator, runs: Runs) -> None:
    answer(generator)
    before = processes_of(module=FAKE)
    runs.start(device="cpu")
    looked_again(runs)
    assert processes_of(module=FAKE) == before
    runs.start(device="cuda")  # the control
    eventually(lambda: processes_of(module=FAKE) == [])


def test_without_a_gpu_an_idle_one_is_ended_and_loads_again_with_the_next_request(
    generator: Generator, runs: Runs
) -> None:
    assert answer(generator) == ("cpu", [])
    runs.start(device="cpu")
    eventually(lambda: processes_of(module=FAKE) == [])
    again = "The model was unloaded when run calm-kea started, and is loaded again."
    assert answer(generator) == ("cpu", [again])
    assert answer(generator) == ("cpu", [])
    before = processes_of(module=FAKE)
    looked_again(runs)
    assert processes_of(module=FAKE) == before, "the same run does not end it twice"


def test_a_dry_run_is_called_one(generator: Generator, runs: Runs) -> None:
    assert answer(generator) == ("cpu", [])
    runs.start("dry-run", device="cpu")
    eventually(lambda: processes_of(module=FAKE) == [])
    again = "The model was unloaded when a dry run started, and is loaded again."
    assert answer(generator) == ("cpu", [again])


def test_without_a_gpu_one_that_writes_is_left_alone(generator: Generator, runs: Runs) -> None:
    stream = generator.stream(REVISION, "endless", ONE)
    assert next(stream).text == "cpu"
    before = processes_of(module=FAKE)
    runs.start(device="cpu")
    looked_again(runs)
    assert processes_of(module=FAKE) == before
    generator.unload()


def test_without_a_gpu_nothing_is_said_of_one(generator: Generator, runs: Runs) -> None:
    """A run that has just started has not said what it trains on."""
    runs.start(device=None)
    assert answer(generator) == ("cpu", [])
