"""The plan's arithmetic, compared with figures calculated by hand and those of the course."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.config.recipes import run_config
from pipeline.config.schema import DataConfig
from pipeline.core import gpu
from pipeline.core.gpu import TorchBuild
from pipeline.planning import (
    BYTES_PER_TOKEN,
    CorpusThroughput,
    SourceFigures,
    plan_corpus,
    plan_run,
)
from tests.gpus import T4, fake_smi


def planned(train_tokens: int, preset: str = "tiny", home: Path | None = None, **changes: object):
    config = run_config(
        corpus="c", preset=preset, recipe="accelerate", vocab_size=4_096, train_tokens=train_tokens, changes=changes
    )
    return plan_run(config, train_tokens=train_tokens, home=home)


def test_the_course_run_reads_its_corpus_once_with_15_evaluations() -> None:
    tokens = 16_702_061 * 128
    config = run_config(corpus="c", preset="course", recipe="accelerate", vocab_size=50_000, train_tokens=tokens)
    plan = plan_run(config, train_tokens=tokens)
    assert plan.steps == 65_242
    assert plan.evaluations == 15, "step 0, 13 times every 5,000 updates, and the last"
    assert plan.checkpoints == 14
    assert 0.999 < plan.epochs <= 1
    assert plan.warnings == []


def test_tokens_and_epochs_follow_steps_batch_and_window() -> None:
    plan = planned(train_tokens=1_000_000, max_steps=100, batch_size=32)
    assert plan.tokens == 100 * 32 * 128
    assert plan.epochs == plan.tokens / 1_000_000


def test_each_warning_appears_only_with_its_cause() -> None:
    assert planned(10**7, max_steps=100).warnings == []
    assert "evaluations" in planned(10**7, max_steps=100, eval_every_steps=100).warnings[0]
    assert "warm-up" in planned(10**7, max_steps=100, warmup_steps=100).warnings[0]
    assert "is 4,750 times that of recipe accelerate (0.002)" in planned(10**8, learning_rate=9.5).warnings[0]
    assert planned(10**8, learning_rate=0.009).warnings == []
    assert "read 41.0 times" in planned(10_000, max_steps=100).warnings[0]


def test_a_run_larger_than_the_disk_is_warned_about(tmp_path: Path) -> None:
    plan = planned(
        10**7, home=tmp_path / "not" / "there", max_steps=10**6, checkpoint_every_steps=1, eval_every_steps=10**5
    )
    assert any("disk" in warning for warning in plan.warnings)
    assert not any("disk" in warning for warning in planned(10**7, home=tmp_path, max_steps=10).warnings)


def test_planned_disk_includes_every_checkpoint_kept_to_resume_from() -> None:
    weights = 4 * planned(10**7).parameters
    often = {"max_steps": 100, "checkpoint_every_steps": 5}
    # 20 revisions; with optimizer state the newest two, the best, and the one being written.
    assert planned(10**7, **often).disk_bytes == 20 * weights + 2 * weights * 4
    assert planned(10**7, **often, keep_every_steps=10).disk_bytes == 20 * weights + 2 * weights * 14
    assert planned(10**7, **often, keep_every_steps=1).disk_bytes == 20 * weights + 2 * weights * 20
    assert planned(10**7, max_steps=100, checkpoint_every_steps=100).disk_bytes == 3 * weights


PREVIEW = SourceFigures(num_bytes=10_000_000, kept=50, kept_bytes=1_000_000, share=0.1)
THROUGHPUT = CorpusThroughput(
    corpus="earlier",
    filter_seconds_per_byte=2e-8,
    learn_seconds_per_byte=8e-7,
    write_seconds_per_byte=2e-7,
    stored_share=0.2,
    bytes_per_token=4.0,
    vocab_size=4_096,
    text_bytes=50_000_000,
)


def test_a_corpus_plan_scales_the_preview_up_to_the_whole_source() -> None:
    """A tenth of the source has 50 files of 1 MB in total: 500 files, 10 MB, 2.5 M tokens of 4 bytes each.

    Reading 100 MB takes 2 s, training the tokenizer on 10 MB 8 s, tokenizing them 2 s. The files take 2 MB, the tokens
    5 MB, their index 2.5 MB, and another 2 MB during preparation. Four processes read and tokenize four times as fast; tokenizer training
    takes as long as with one.
    """
    plan = plan_corpus(DataConfig(), seen=PREVIEW, throughput=THROUGHPUT)
    assert (plan.files, plan.text_bytes, plan.tokens) == (500, 10_000_000, 2_500_000)
    assert plan.seconds == pytest.approx(12.0)
    assert (plan.disk_bytes, plan.most_disk_bytes) == (9_500_000, 11_500_000)
    assert plan_corpus(DataConfig(), seen=PREVIEW, throughput=THROUGHPUT, workers=4).seconds == pytest.approx(8.0 + 1.0)


def test_fewer_files_need_less_of_the_source() -> None:
    """100 of 500 files: a fifth of everything."""
    plan = plan_corpus(DataConfig(max_files=100), seen=PREVIEW, throughput=THROUGHPUT)
    assert (plan.files, plan.text_bytes, plan.tokens) == (100, 2_000_000, 500_000)
    assert plan.seconds == pytest.approx(0.4 + 2.0)
    assert plan_corpus(DataConfig(max_files=900), seen=PREVIEW, throughput=THROUGHPUT).files == 500


def test_tokenizer_training_time_is_capped() -> None:
    """1 GB of kept text, already filtered: training the tokenizer on 50 MB takes 40 s, tokenizing 1 GB 200 s."""
    seen = SourceFigures(num_bytes=10**10, kept=10**4, kept_bytes=10**9, share=1.0, is_filtered=True)
    assert plan_corpus(DataConfig(), seen=seen, throughput=THROUGHPUT).seconds == pytest.approx(240.0)


def test_what_a_scan_has_filtered_is_not_read_again() -> None:
    seen = replace(PREVIEW, share=1.0, is_filtered=True)
    assert plan_corpus(DataConfig(), seen=seen, throughput=THROUGHPUT).seconds == pytest.approx(1.0)


def test_an_unmeasured_vocabulary_size_uses_the_nearest_measured_one() -> None:
    seen = replace(PREVIEW, share=1.0)
    plan = plan_corpus(DataConfig(vocab_size=40_000), seen=seen, throughput=THROUGHPUT)
    assert plan.tokens == round(1_000_000 / BYTES_PER_TOKEN[50_000])
    wide = plan_corpus(DataConfig(vocab_size=100_000), seen=seen, throughput=THROUGHPUT)
    per_token = 4 + 1  # a token of 4 bytes, and its share of the index
    assert wide.disk_bytes == 200_000 + per_token * round(1_000_000 / BYTES_PER_TOKEN[50_000])


def test_what_is_not_known_is_not_guessed() -> None:
    nothing = plan_corpus(DataConfig(), seen=None, throughput=THROUGHPUT)
    assert {nothing.files, nothing.tokens, nothing.seconds, nothing.disk_bytes} == {None}
    assert plan_corpus(DataConfig(), seen=replace(PREVIEW, share=None), throughput=THROUGHPUT).files is None
    assert plan_corpus(DataConfig(), seen=replace(PREVIEW, kept=0), throughput=THROUGHPUT).files is None
    assert plan_corpus(DataConfig(), seen=PREVIEW).seconds is None
    given = plan_corpus(DataConfig(tokenizer="owner/name"), seen=PREVIEW, throughput=THROUGHPUT)
    assert (given.files, given.tokens, given.disk_bytes) == (500, None, None)


def test_a_corpus_larger_than_the_disk_is_warned_about(tmp_path: Path) -> None:
    small = plan_corpus(DataConfig(), seen=PREVIEW, home=tmp_path / "not" / "there")
    huge = plan_corpus(DataConfig(), seen=replace(PREVIEW, kept_bytes=10**18), home=tmp_path)
    assert small.warnings == []
    assert "keep fewer files" in huge.warnings[0]


def test_a_gpu_that_the_run_cannot_use_is_warned_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The torch of the tests is a build without CUDA."""
    monkeypatch.setattr(gpu, "installed_torch", lambda: TorchBuild("2.13.0+cpu", None))
    assert not any("GPU" in warning for warning in planned(10**7, home=tmp_path, max_steps=100).warnings)
    fake_smi(tmp_path, monkeypatch, T4, driver="550.54.15")
    warnings = planned(10**7, home=tmp_path, max_steps=100).warnings
    assert ["Tesla T4" in warning and "whl/cu126" in warning for warning in warnings] == [True]
    assert planned(10**7, home=tmp_path, max_steps=100, device="cpu").warnings == []


def test_memory_of_the_gpu_that_others_hold_is_warned_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "installed_torch", lambda: TorchBuild("2.13.0+cu130", "13.0"))
    fake_smi(tmp_path, monkeypatch, T4, used_mib=15_300)
    config = run_config(corpus="c", preset="small", recipe="accelerate", vocab_size=16_384, train_tokens=10**9)
    for is_idle in (True, False):
        plan = plan_run(config, train_tokens=10**9, home=tmp_path, is_idle=is_idle)
        assert [warning.startswith("The run needs about") for warning in plan.warnings] == [True] * is_idle


def test_a_corpus_whose_losses_say_little_is_warned_about() -> None:
    config = run_config(corpus="c", preset="tiny", recipe="accelerate", vocab_size=4_096, train_tokens=10**7)
    few = {"files_train": 1, "files_validation": 59, "config": {"validation_share": 0.05}}
    (warning,) = plan_run(config, train_tokens=10**7, manifest=few).warnings
    assert warning.startswith("59 of 60 files are held out for validation")
