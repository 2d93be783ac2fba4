from __future__ import annotations

import torch
from torch import nn

from pipeline.config.recipes import run_config
from pipeline.config.schema import ModelConfig, TrainingConfig
from pipeline.training.model import build_model
from pipeline.training.optimizer import build_optimizer, parameter_groups

MODEL = ModelConfig(n_layer=1, n_embd=16, n_head=2, n_positions=32, window=16, vocab_size=50)
CPU = torch.device("cpu")


def training(recipe: str = "accelerate") -> TrainingConfig:
    return run_config(corpus="c", preset="course", recipe=recipe, vocab_size=50_000, train_tokens=10**9).training


def names(model: nn.Module, parameters: list[nn.Parameter]) -> set[str]:
    chosen = {id(parameter) for parameter in parameters}
    return {name for name, parameter in model.named_parameters() if id(parameter) in chosen}


def test_biases_and_layer_norms_do_not_decay_and_everything_else_does() -> None:
    model = build_model(MODEL, eos_id=0, seed=0)
    decayed, undecayed = parameter_groups(model, 0.1)
    assert (decayed["weight_decay"], undecayed["weight_decay"]) == (0.1, 0.0)
    assert names(model, decayed["params"]) == {
        "transformer.wte.weight",
        "transformer.wpe.weight",
        "transformer.h.0.attn.c_attn.weight",
        "transformer.h.0.attn.c_proj.weight",
        "transformer.h.0.mlp.c_fc.weight",
        "transformer.h.0.mlp.c_proj.weight",
    }
    assert {name for name in names(model, undecayed["params"]) if "bias" not in name} == {
        "transformer.h.0.ln_1.weight",
        "transformer.h.0.ln_2.weight",
        "transformer.ln_f.weight",
    }


def test_matrices_decay_and_vectors_do_not() -> None:
    decayed, undecayed = parameter_groups(build_model(MODEL, eos_id=0, seed=0), 0.1)
    assert {parameter.ndim for parameter in decayed["params"]} == {2}
    assert {parameter.ndim for parameter in undecayed["params"]} == {1}


def test_every_parameter_is_in_one_group_once() -> None:
    model = build_model(MODEL, eos_id=0, seed=0)
    grouped = [parameter for group in parameter_groups(model, 0.1) for parameter in group["params"]]
    assert len(grouped) == len({id(parameter) for parameter in grouped}) == len(list(model.parameters()))


def test_the_recipe_decides_decay_and_rate() -> None:
    for recipe, decay, rate in (("accelerate", 0.1, 5e-4), ("trainer", 0.1, 5e-4), ("keras", 0.01, 5e-5)):
        optimizer = build_optimizer(build_model(MODEL, eos_id=0, seed=0), training(recipe))
        assert [group["weight_decay"] for group in optimizer.param_groups] == [decay, 0.0]
        assert {group["lr"] for group in optimizer.param_groups} == {rate}


def test_the_optimizer_is_fused_on_the_cpu_too() -> None:
    optimizer = build_optimizer(build_model(MODEL, eos_id=0, seed=0), training())
    assert {group["fused"] for group in optimizer.param_groups} == {True}
