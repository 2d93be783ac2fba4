"""A dry run goes the whole way, leaves nothing behind, and fails where the run would."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.core.errors import InputError, PipelineError
from pipeline.core.paths import Home
from pipeline.core.settings import Settings
from pipeline.jobs.dry_run import rehearse
from pipeline.training.dry_run import step_figures
from tests.training.runs import SMALL, make_corpus

pytestmark = pytest.mark.slow
ASKED = {**SMALL, "max_steps": 500, "eval_windows": None, "checkpoint_every_steps": 100, "eval_every_steps": 50}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    home = Home(tmp_path)
    make_corpus(home.corpus("python"), num_files=900)
    return Settings.from_environment({"PIPELINE_HOME": str(home.path)})


def left(settings: Settings) -> list[str]:
    return sorted(path.name for path in Path(settings.home).iterdir() if path.name != ".rehearsal.lock")


def test_it_does_all_that_a_run_does_and_foresees_the_rest(settings: Settings) -> None:
    before = left(settings)
    (Path(settings.home) / ".rehearsal" / "runs").mkdir(parents=True)  # what one that was killed left
    found = rehearse(settings, corpus="python", preset="tiny", recipe="fast", changes=ASKED)
    measured, plan = found.measured, found.plan
    assert (plan.steps, plan.evaluations, plan.checkpoints) == (500, 11, 5)
    assert 0 < measured["step_seconds"] < 10 and 0 < measured["save_seconds"] < 10
    assert (measured["device"], measured["precision"], measured["micro_batch_size"]) == ("cpu", "fp32", 4)
    assert isinstance(measured["completion"], str)
    parts = 500 * measured["step_seconds"] + 11 * measured["eval_seconds"] + 5 * measured["save_seconds"]
    assert found.seconds == pytest.approx(parts)
    assert plan.memory_bytes == measured["peak_memory_bytes"] > 100_000_000
    assert left(settings) == before, "nothing of it stays"
    assert not list(Home(Path(settings.home)).runs())


def test_it_ends_with_the_sentence_that_the_run_would_end_with(settings: Settings) -> None:
    before = left(settings)
    (Path(settings.home) / "corpora/python/tokenizer/tokenizer.json").write_text("{}")
    with pytest.raises(PipelineError, match="The dry run failed: "):
        rehearse(settings, corpus="python", preset="tiny", recipe="fast", changes=ASKED)
    with pytest.raises(InputError, match="n_embd"):
        rehearse(settings, corpus="python", preset="tiny", recipe="fast", changes={"n_embd": 7})
    assert left(settings) == before


def test_it_is_of_one_process_and_says_so(settings: Settings) -> None:
    with pytest.raises(InputError, match="processes is 2; leave it out: a dry run is done by one process"):
        rehearse(settings, corpus="python", preset="tiny", recipe="fast", changes=ASKED, processes=2)


@pytest.mark.parametrize(("is_compiled", "speed"), [(False, 200 / 12), (True, 100 / 2)])
def test_an_evaluation_takes_what_the_last_row_took_beside_its_step(*, is_compiled: bool, speed: float) -> None:
    rows = [
        {"step": 0, "tokens": 0, "seconds": 90.0, "eval_loss": 8.0},  # with the time of compiling
        {"step": 1, "tokens": 100, "tokens_per_second": 10.0, "seconds": 100.0},
        {"step": 2, "tokens": 200, "tokens_per_second": speed, "seconds": 105.0, "eval_loss": 7.0},
    ]
    found = step_figures(rows, is_compiled=is_compiled)
    assert (found["first_step_seconds"], found["step_seconds"]) == pytest.approx((10.0, 2.0))
    assert found["eval_seconds"] == pytest.approx(3.0)
