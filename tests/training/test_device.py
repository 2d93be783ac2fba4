from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipeline.config.recipes import run_config
from pipeline.config.schema import ModelConfig
from pipeline.core.environment import num_cores
from pipeline.core.errors import InputError
from pipeline.training.device import (
    CLEARLY_FASTER,
    choose_device,
    choose_precision,
    measure_bf16_speedup,
    use_all_cores,
)

CPU = torch.device("cpu")
MODEL = ModelConfig(n_layer=1, n_embd=64, n_head=2, n_positions=32, window=16, vocab_size=50)


def test_what_was_asked_for_is_taken() -> None:
    for name, for_accelerate in (("fp32", "no"), ("bf16", "bf16")):
        precision = choose_precision(name, CPU, MODEL)
        assert (precision.name, precision.for_accelerate) == (name, for_accelerate)


def test_fp16_without_a_gpu_is_refused_with_the_remedy() -> None:
    with pytest.raises(InputError, match=r"precision is 'fp16'; choose auto, bf16 or fp32"):
        choose_precision("fp16", CPU, MODEL)


def test_auto_on_a_cpu_is_what_it_measured() -> None:
    precision = choose_precision("auto", CPU, MODEL)
    speedup = float(precision.reason.split()[3])
    assert precision.reason == f"measured, bf16 is {speedup:.1f} times as fast as fp32"
    # The reason is rounded: at the border both are right.
    assert precision.name == ("bf16" if speedup >= CLEARLY_FASTER else "fp32") or speedup == CLEARLY_FASTER


def test_measuring_draws_nothing_from_the_global_generator() -> None:
    torch.manual_seed(5)
    expected = torch.rand(4)
    torch.manual_seed(5)
    assert measure_bf16_speedup(width=32, rows=8, rounds=1) > 0
    assert torch.equal(torch.rand(4), expected)


def test_a_run_that_may_only_have_the_cpu_gets_no_gpu() -> None:
    config = run_config(
        corpus="c", preset="tiny", recipe="accelerate", vocab_size=300, train_tokens=10**6, changes={"device": "cpu"}
    )
    assert choose_device(config.training) == CPU


def test_a_container_has_the_cores_it_was_given(tmp_path: Path) -> None:
    limit = tmp_path / "cpu.max"
    bound = num_cores(tmp_path / "there is none")
    assert bound >= 1
    for text, cores in (("max 100000", bound), ("100000 100000", 1), ("20000 100000", 1), ("99900000 100000", bound)):
        limit.write_text(f"{text}\n")
        assert num_cores(limit) == cores


def test_sister_ranks_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(10 * num_cores()))
    assert use_all_cores() == 1
    monkeypatch.delenv("LOCAL_WORLD_SIZE")
    assert use_all_cores() == num_cores()
    torch.set_num_threads(before)


def test_a_number_of_threads_that_was_set_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    assert use_all_cores() == 1
    torch.set_num_threads(before)
