from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipeline.generation.loaded import LoadedModels, _device

A, B, C = map(Path, "ABC")


def reserved(models: LoadedModels, path: Path) -> bool:
    """Reserve the model of `path` and mark it as loaded. Returns whether it could be reserved."""
    model = models.reserve(path)
    if model is not None:
        model.parts = (path, path)
    return model is not None


def test_the_least_recently_used_model_is_evicted() -> None:
    models = LoadedModels()
    for path in (A, B, A):
        model = models.reserve(path)
        assert model is not None
        model.parts = (path, path)
        models.release(model)
    assert reserved(models, C)
    assert set(models._models) == {A, C}


def test_a_third_waits_until_nobody_uses_one_of_the_two() -> None:
    models = LoadedModels()
    first = models.reserve(A)
    assert first is not None and reserved(models, B)
    assert not reserved(models, C)
    first.parts = (A, A)
    models.release(first)
    assert reserved(models, C)


def test_a_waiting_request_is_not_overtaken_by_users_of_the_model_to_evict() -> None:
    models = LoadedModels()
    assert reserved(models, A) and reserved(models, B) and reserved(models, B)
    models.plan()
    assert not reserved(models, C)
    assert not reserved(models, A), "it has fewer users, so it is evicted next"
    assert reserved(models, B)
    models.plan()
    assert reserved(models, A), "no request waits any more"


def test_a_model_that_failed_to_load_is_not_kept() -> None:
    models = LoadedModels()
    failed = models.reserve(A)
    assert failed is not None
    models.release(failed)
    assert not models._models


def test_when_two_do_not_fit_one_is_kept() -> None:
    models = LoadedModels()
    assert reserved(models, A)
    assert not models.shrink()
    second = models.reserve(B)
    assert second is not None and models.shrink()
    models.release(second)
    assert not reserved(models, B)


def test_a_card_that_runs_no_kernel_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)

    def none(*_: object, **__: object) -> torch.Tensor:
        raise RuntimeError("CUDA error: no kernel image is available for execution on the device")

    def full(*_: object, **__: object) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    for ones, device in ((none, "cpu"), (full, "cuda")):
        monkeypatch.setattr(torch, "ones", ones)
        assert _device() == torch.device(device)
