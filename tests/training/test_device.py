from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipeline.config.memory_estimate import activation_bytes
from pipeline.config.recipes import run_config
from pipeline.config.schema import ModelConfig
from pipeline.core import gpu
from pipeline.core.environment import num_cores
from pipeline.core.errors import InputError
from pipeline.core.gpu import TorchBuild
from pipeline.training.device import (
    CLEARLY_FASTER,
    FREE_SHARE,
    choose_device,
    choose_micro_batch,
    choose_precision,
    cuda_problem,
    measure_bf16_speedup,
    use_all_cores,
)
from pipeline.training.gradient_accumulation import held_by_others
from tests.gpus import T4, fake_smi

CPU = torch.device("cpu")
MODEL = ModelConfig(n_layer=1, n_embd=64, n_head=2, n_positions=32, window=16, vocab_size=50)


def test_a_requested_precision_is_used() -> None:
    for name, for_accelerate in (("fp32", "no"), ("bf16", "bf16")):
        precision = choose_precision(name, CPU, MODEL)
        assert (precision.name, precision.for_accelerate) == (name, for_accelerate)


def test_fp16_without_a_gpu_is_refused_with_the_remedy() -> None:
    with pytest.raises(InputError, match=r"precision is 'fp16'; choose auto, bf16 or fp32"):
        choose_precision("fp16", CPU, MODEL)


def test_auto_precision_on_a_cpu_follows_the_measurement() -> None:
    precision = choose_precision("auto", CPU, MODEL)
    speedup = float(precision.reason.split()[3])
    assert precision.reason == f"measured, bf16 is {speedup:.1f} times as fast as fp32"
    # The reason shows a rounded speedup: exactly at the limit both are correct.
    assert precision.name == ("bf16" if speedup >= CLEARLY_FASTER else "fp32") or speedup == CLEARLY_FASTER


def test_measuring_draws_nothing_from_the_global_generator() -> None:
    torch.manual_seed(5)
    expected = torch.rand(4)
    torch.manual_seed(5)
    assert measure_bf16_speedup(width=32, rows=8, rounds=1) > 0
    assert torch.equal(torch.rand(4), expected)


def test_device_cpu_never_selects_a_gpu() -> None:
    config = run_config(
        corpus="c", preset="tiny", recipe="accelerate", vocab_size=300, train_tokens=10**6, changes={"device": "cpu"}
    )
    assert choose_device(config.training) == CPU


@pytest.mark.parametrize(("sharding", "processes"), [("none", 1), ("fsdp2", 4)])
def test_the_weights_on_the_gpu_are_not_counted_again(
    monkeypatch: pytest.MonkeyPatch, sharding: str, processes: int
) -> None:
    """Free memory is what is left beside them: gradients, two moments and the activations have to fit into it."""
    changes = {"batch_size": 64, "sharding": sharding}
    config = run_config(
        corpus="c", preset="course", recipe="accelerate", vocab_size=50_000, train_tokens=10**6, changes=changes
    )
    weights = 4 * config.model.num_parameters
    needed = 3 * weights / (processes if sharding == "fsdp2" else 1) + 8.5 * activation_bytes(config.model)
    free = int(needed / FREE_SHARE)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 2 * free))
    assert choose_micro_batch(config, torch.device("cuda"), processes) == 8


def test_a_gpu_that_torch_cannot_use_is_named_and_the_cpu_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert torch.cuda.is_available() or cuda_problem() is None, "there is no GPU"
    fake_smi(tmp_path, monkeypatch, T4)
    problem = cuda_problem()
    assert problem is not None and problem.startswith("This machine has a GPU, Tesla T4 (compute capability 7.5), ")
    config = run_config(corpus="c", preset="tiny", recipe="accelerate", vocab_size=300, train_tokens=10**6)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device(config.training, problem) == CPU
    assert choose_device(config.training).type == "cuda"


def test_a_reason_that_only_torch_knows_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_smi(tmp_path, monkeypatch, T4)
    monkeypatch.setattr(gpu, "installed_torch", lambda: TorchBuild("2.13.0+cu130", "13.0"))
    found = cuda_problem() or ""
    assert found.startswith("Training uses the CPU, as torch 2.13") and "cannot use Tesla T4" in found
    assert "(README, Choosing a GPU)" in found


def test_memory_that_others_hold_is_in_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (10**9, 16 * 10**9))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 2 * 10**9)
    device = torch.device("cuda")
    assert held_by_others(device) == "; other programs, which nvidia-smi lists, hold 13.0 of its 16.0 GB"
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 14 * 10**9)
    assert held_by_others(device) == held_by_others(CPU) == "", "a CUDA context"


def test_num_cores_respects_the_limit_of_a_container(tmp_path: Path) -> None:
    limit = tmp_path / "cpu.max"
    bound = num_cores(tmp_path / "there is none")
    assert bound >= 1
    for text, cores in (("max 100000", bound), ("100000 100000", 1), ("20000 100000", 1), ("99900000 100000", bound)):
        limit.write_text(f"{text}\n")
        assert num_cores(limit) == cores


def test_ranks_of_one_machine_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(10 * num_cores()))
    assert use_all_cores() == 1
    monkeypatch.delenv("LOCAL_WORLD_SIZE")
    assert use_all_cores() == num_cores()
    torch.set_num_threads(before)


def test_omp_num_threads_takes_precedence(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    assert use_all_cores() == 1
    torch.set_num_threads(before)
