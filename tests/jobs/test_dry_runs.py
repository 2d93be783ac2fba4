"""A dry run does all phases of a run, leaves nothing behind, and fails where the run would."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.config.requests import RunRequest
from pipeline.core.errors import BusyError, InputError, PipelineError
from pipeline.core.paths import Home
from pipeline.core.settings import Settings
from pipeline.jobs.dry_runs import dry_run, start_dry_run
from pipeline.jobs.job import stop_job
from pipeline.jobs.runs import start_training
from pipeline.jobs.state import in_order, job_state
from pipeline.jobs.view_types import DryRunView
from pipeline.training.dry_run import step_figures
from tests.gpus import T4, fake_smi
from tests.training.runs import SMALL, make_corpus

pytestmark = pytest.mark.slow
ASKED = {**SMALL, "max_steps": 500, "eval_windows": None, "checkpoint_every_steps": 100, "eval_every_steps": 50}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    home = Home(tmp_path)
    make_corpus(home.corpus("python"), num_files=900)
    return Settings.from_environment({"PIPELINE_HOME": str(home.path)})


def left(settings: Settings) -> list[str]:
    """What is left of a dry run's runs and home folder; its request, status and log are kept, as those of every job."""
    home = Home(settings.home)
    return [*(run.id for run in home.runs()), *(path.name for path in [home.dry_run.home.path] if path.exists())]


def test_it_does_all_phases_of_a_run_and_estimates_the_full_run(settings: Settings) -> None:
    (Home(settings.home).dry_run.home.path / "runs" / "dry-run").mkdir(parents=True)  # left by a killed dry run
    found = dry_run(settings, corpus="python", preset="tiny", recipe="fast", changes=ASKED)
    measured, plan = found.measured, found.plan
    assert (plan.steps, plan.evaluations, plan.checkpoints) == (500, 11, 5)
    assert 0 < measured["step_seconds"] < 10 and 0 < measured["save_seconds"] < 10
    assert (measured["device"], measured["precision"], measured["micro_batch_size"]) == ("cpu", "fp32", 4)
    assert isinstance(measured["completion"], str)
    parts = 500 * measured["step_seconds"] + 11 * measured["eval_seconds"] + 5 * measured["save_seconds"]
    assert found.seconds == pytest.approx(parts)
    assert plan.memory_bytes == measured["peak_memory_bytes"] > 100_000_000
    assert left(settings) == [], "the dry run leaves nothing behind"


def test_it_ends_with_the_error_that_the_run_would_end_with(settings: Settings) -> None:
    (Path(settings.home) / "corpora/python/tokenizer/tokenizer.json").write_text("{}")
    with pytest.raises(PipelineError, match="The dry run failed: "):
        dry_run(settings, corpus="python", preset="tiny", recipe="fast", changes=ASKED)
    with pytest.raises(InputError, match="n_embd"):
        dry_run(settings, corpus="python", preset="tiny", recipe="fast", changes={"n_embd": 7})
    assert left(settings) == []


def test_it_is_a_job_that_can_be_stopped(settings: Settings) -> None:
    home = Home(settings.home)

    def stop(view: DryRunView) -> None:
        if view.state == "running":
            stop_job(settings, home.dry_run)

    with pytest.raises(PipelineError, match="The dry run stopped: start it again"):
        dry_run(settings, corpus="python", preset="tiny", recipe="fast", changes=ASKED, show=stop)
    assert job_state(home.dry_run).state == "stopped"
    assert left(settings) == []


def test_it_is_refused_while_a_run_or_another_dry_run_is_active(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.jobs.worker.wake", lambda settings: None)
    asked = RunRequest(corpus="python", preset="tiny", recipe="fast")
    start_dry_run(settings, asked)
    with pytest.raises(BusyError, match="Another dry run"):
        start_dry_run(settings, asked)
    stop_job(settings, Home(settings.home).dry_run)
    start_training(settings, corpus="python", preset="tiny", recipe="fast", run_id="a", changes=SMALL)
    with pytest.raises(BusyError, match="Run a waits in the queue"):
        start_dry_run(settings, asked)
    start_dry_run(settings, asked, queue=True)
    assert [state.kind for state in in_order(Home(settings.home))] == ["train", "dry-run"]


def test_more_than_one_process_is_refused(settings: Settings) -> None:
    with pytest.raises(InputError, match="processes is 2; leave it out: a dry run is done by one process"):
        dry_run(settings, corpus="python", preset="tiny", recipe="fast", changes=ASKED, processes=2)


@pytest.mark.parametrize(("is_compiled", "speed"), [(False, 200 / 12), (True, 100 / 2)])
def test_the_evaluation_time_is_that_of_the_last_row_without_its_step(*, is_compiled: bool, speed: float) -> None:
    rows = [
        {"step": 0, "tokens": 0, "seconds": 90.0, "eval_loss": 8.0},  # includes the time of compiling
        {"step": 1, "tokens": 100, "tokens_per_second": 10.0, "seconds": 100.0},
        {"step": 2, "tokens": 200, "tokens_per_second": speed, "seconds": 105.0, "eval_loss": 7.0},
    ]
    found = step_figures(rows, is_compiled=is_compiled)
    assert (found["first_step_seconds"], found["step_seconds"]) == pytest.approx((10.0, 2.0))
    assert found["eval_seconds"] == pytest.approx(3.0)


def test_a_gpu_that_cannot_be_used_is_in_its_answer(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen by its trainer, a process of its own. The torch of the tests is a build without CUDA."""
    fake_smi(tmp_path / "bin", monkeypatch, T4, driver="550.54.15")
    found = dry_run(settings, corpus="python", preset="tiny", recipe="fast", changes=ASKED)
    assert "Tesla T4" in found.measured["gpu_problem"] and "whl/cu126" in found.measured["gpu_problem"]
    assert found.plan.warnings.count(found.measured["gpu_problem"]) == 1
