from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.config.prompts import course_prompts
from pipeline.config.recipes import run_config
from pipeline.config.schema import RunConfig
from pipeline.core.atomic_io import append_line, read_json, read_lines
from pipeline.core.job_process import JobProcess
from pipeline.core.paths import Home, RunFolder
from pipeline.training.run_logger import RunLogger, Throughput, cut_back

CONFIG: RunConfig = run_config(
    corpus="c",
    preset="tiny",
    recipe="accelerate",
    vocab_size=300,
    train_tokens=10**6,
    changes={"max_steps": 100, "batch_size": 8, "micro_batch_size": 8, "window": 16},
)
TOKENS_PER_STEP = 8 * 16


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return Home(tmp_path).run("run")


def test_a_row_has_what_was_measured_and_nothing_else(folder: RunFolder) -> None:
    with JobProcess(folder) as job:
        logger = RunLogger(folder, job, CONFIG)
        logger.start_at(0)
        logger.row(0, training_seconds=0.0, eval_loss=5.0, perplexity=148.4)
        logger.row(10, training_seconds=2.0, train_loss=4.0, learning_rate=1e-3)
    first, second = read_lines(folder.metrics)
    assert set(first) == {"step", "tokens", "seconds", "eval_loss", "perplexity"}
    assert set(second) == {"step", "tokens", "seconds", "train_loss", "learning_rate", "tokens_per_second"}
    assert (second["step"], second["tokens"]) == (10, 10 * TOKENS_PER_STEP)
    assert second["tokens_per_second"] == 10 * TOKENS_PER_STEP / 2


def test_the_status_shows_the_newest_value_of_each_metric(folder: RunFolder) -> None:
    with JobProcess(folder) as job:
        logger = RunLogger(folder, job, CONFIG)
        logger.start_at(0)
        logger.row(0, training_seconds=0.0, eval_loss=5.0, perplexity=148.4)
        logger.row(10, training_seconds=2.0, train_loss=4.0)
    status = read_json(folder.status)
    assert status is not None
    shown = {"step": 10, "max_steps": 100, "tokens": 1_280, "train_loss": 4.0, "eval_loss": 5.0, "perplexity": 148.4}
    assert shown.items() <= status.items()
    assert status["eta_seconds"] == pytest.approx(90 * 2.0 / 10)


def test_the_time_left_includes_the_remaining_evaluations(folder: RunFolder) -> None:
    every = CONFIG.training.eval_every_steps
    with JobProcess(folder) as job:
        logger = RunLogger(folder, job, CONFIG)
        logger.start_at(0)
        logger.evaluated(7.0)
        for step, left in ((every - 1, -(-100 // every)), (every, -(-100 // every) - 1), (99, 1), (100, 0)):
            logger.row(step, training_seconds=step / 5, train_loss=4.0)
            status = read_json(folder.status) or {}
            assert status["eta_seconds"] == pytest.approx((100 - step) / 5 + 7.0 * left)


def test_a_nan_loss_is_null_in_the_metrics(folder: RunFolder) -> None:
    with JobProcess(folder) as job:
        RunLogger(folder, job, CONFIG).row(3, training_seconds=1.0, train_loss=float("nan"))
    assert read_lines(folder.metrics)[0]["train_loss"] is None


def test_rows_after_the_checkpoint_are_dropped(folder: RunFolder) -> None:
    with JobProcess(folder) as job:
        logger = RunLogger(folder, job, CONFIG)
        logger.row(0, training_seconds=0.0, eval_loss=5.0, perplexity=148.4)
        logger.row(10, training_seconds=2.0, train_loss=4.0)
        logger.row(20, training_seconds=4.0, train_loss=3.0, eval_loss=3.5)
        logger.sample(10, course_prompts()[0], "x")
        logger.sample(20, course_prompts()[0], "y")
    with JobProcess(folder) as job:
        evaluated = RunLogger(folder, job, CONFIG).start_at(10)
    assert [row["step"] for row in read_lines(folder.metrics)] == [0, 10]
    assert [row["step"] for row in read_lines(folder.samples)] == [10]
    assert evaluated == {0}
    status = read_json(folder.status)
    assert status is not None and (status["step"], status["train_loss"], status["eval_loss"]) == (10, 4.0, 5.0)


def test_seconds_continue_from_the_earlier_part(folder: RunFolder) -> None:
    append_line(folder.metrics, {"step": 10, "tokens": 1_280, "seconds": 500.0})
    with JobProcess(folder) as job:
        logger = RunLogger(folder, job, CONFIG)
        logger.start_at(10)
        logger.row(11, training_seconds=1.0, train_loss=2.0)
    assert 500 <= read_lines(folder.metrics)[-1]["seconds"] < 560


def test_cutting_back_drops_a_torn_line_and_keeps_every_digit(folder: RunFolder) -> None:
    append_line(folder.metrics, {"step": 1, "train_loss": 0.1 + 0.2})
    with folder.metrics.open("a") as file:
        file.write('{"step": 2, "train_lo')
    assert cut_back(folder.metrics, 5) == [{"step": 1, "train_loss": 0.1 + 0.2}]
    assert read_lines(folder.metrics) == [{"step": 1, "train_loss": 0.1 + 0.2}]
    assert folder.metrics.read_text().endswith("}\n")


def test_a_sample_has_its_prompt_and_its_step(folder: RunFolder) -> None:
    prompt = course_prompts()[0]
    with JobProcess(folder) as job:
        RunLogger(folder, job, CONFIG).sample(5, prompt, "plt.scatter(x, y)")
    row = read_lines(folder.samples)[0]
    assert row.pop("time") > 0
    assert row == {"step": 5, "prompt_name": prompt.name, "prompt": prompt.text, "text": "plt.scatter(x, y)"}


def test_a_rank_without_a_job_writes_nothing(folder: RunFolder) -> None:
    logger = RunLogger(folder, None, CONFIG)
    assert logger.start_at(0) == set()
    logger.say("hello")
    logger.progress(1)
    logger.row(1, training_seconds=1.0, train_loss=1.0)
    logger.sample(1, course_prompts()[0], "x")
    assert not folder.path.exists()


def test_progress_updates_the_step_without_a_row(folder: RunFolder) -> None:
    with JobProcess(folder) as job:
        RunLogger(folder, job, CONFIG).progress(7)
    assert (read_json(folder.status) or {})["step"] == 7
    assert not folder.metrics.exists()


def test_throughput_after_warm_up_excludes_the_compilation(folder: RunFolder) -> None:
    with JobProcess(folder) as job:
        logger = RunLogger(folder, job, CONFIG)
        logger.row(1, training_seconds=60.0, train_loss=5.0)
        logger.warmed_up(1, 60.0)
        logger.row(11, training_seconds=65.0, train_loss=4.0)
    first, second = read_lines(folder.metrics)
    assert (first["tokens_per_second"], second["tokens_per_second"]) == (TOKENS_PER_STEP / 60, 10 * TOKENS_PER_STEP / 5)


def test_throughput_covers_only_the_last_rows() -> None:
    throughput = Throughput(rows=2)
    assert throughput.tokens_per_second is None
    for tokens, seconds in ((0, 0.0), (10, 100.0), (20, 101.0), (40, 102.0)):
        throughput.add(tokens, seconds)
    assert throughput.tokens_per_second == 30 / 2
