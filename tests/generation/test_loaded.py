from __future__ import annotations

from pathlib import Path

from pipeline.generation.loaded import LoadedModels

A, B, C = map(Path, "ABC")


def reserved(models: LoadedModels, path: Path) -> bool:
    """Whether the model may be had; it is read at once."""
    model = models.reserve(path)
    if model is not None:
        model.parts = (path, path)
    return model is not None


def test_the_least_recently_used_goes() -> None:
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


def test_who_waits_for_a_place_is_not_overtaken_by_those_who_use_it() -> None:
    models = LoadedModels()
    assert reserved(models, A) and reserved(models, B) and reserved(models, B)
    models.plan()
    assert not reserved(models, C)
    assert not reserved(models, A), "it has fewer users, so it goes next"
    assert reserved(models, B)
    models.plan()
    assert reserved(models, A), "nobody waits any more"


def test_a_model_that_could_not_be_read_takes_no_place() -> None:
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
