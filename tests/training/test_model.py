from __future__ import annotations

import dataclasses

import pytest
import torch

from pipeline.config.recipes import PRESETS
from pipeline.config.schema import ModelConfig
from pipeline.training.model import build_model

TINY = ModelConfig(n_layer=2, n_embd=16, n_head=2, n_positions=32, window=16, vocab_size=50)


def config_of(preset: str) -> ModelConfig:
    size = PRESETS[preset]
    return ModelConfig(
        n_layer=size.n_layer,
        n_embd=size.n_embd,
        n_head=size.n_head,
        n_positions=size.n_positions,
        vocab_size=size.vocab_size,
    )


def test_the_course_preset_has_exactly_the_parameters_of_the_course() -> None:
    with torch.device("meta"):
        model = build_model(config_of("course"), eos_id=0, seed=0)
    assert model.num_parameters() == sum(p.numel() for p in model.parameters()) == 124_242_432


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_has_the_parameters_that_its_configuration_predicts(preset: str) -> None:
    config = config_of(preset)
    with torch.device("meta"):
        assert build_model(config, eos_id=0, seed=0).num_parameters() == config.num_parameters


def test_the_seed_alone_decides_the_weights() -> None:
    def first_weights(seed: int) -> torch.Tensor:
        return build_model(TINY, eos_id=0, seed=seed).transformer.wte.weight

    torch.rand(3)
    one = first_weights(1)
    torch.rand(5)
    assert torch.equal(one, first_weights(1))
    assert not torch.equal(one, first_weights(2))


def test_building_draws_nothing_from_the_global_generator() -> None:
    torch.manual_seed(7)
    expected = torch.rand(4)
    torch.manual_seed(7)
    build_model(TINY, eos_id=0, seed=1)
    assert torch.equal(torch.rand(4), expected)


def test_the_model_has_its_end_of_text_and_its_dropout() -> None:
    model = build_model(TINY, eos_id=3, seed=0)
    assert (model.config.bos_token_id, model.config.eos_token_id) == (3, 3)
    assert model.generation_config.eos_token_id == 3
    assert {m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)} == {0.1}


def test_attention_is_the_fused_kernel() -> None:
    assert build_model(TINY, eos_id=0, seed=0).config._attn_implementation == "sdpa"


def test_the_output_layer_is_the_token_embedding() -> None:
    model = build_model(TINY, eos_id=0, seed=0)
    assert model.lm_head.weight is model.transformer.wte.weight


def test_with_zero_projections_each_block_starts_as_the_identity() -> None:
    config = ModelConfig(
        n_layer=2, n_embd=16, n_head=2, n_positions=32, vocab_size=50, window=16, zero_projections=True
    )
    model = build_model(config, eos_id=0, seed=0).eval()
    ids = torch.arange(16).unsqueeze(0)
    states = model(input_ids=ids, output_hidden_states=True).hidden_states
    assert torch.equal(states[0], states[1])
    plain = build_model(dataclasses.replace(config, zero_projections=False), eos_id=0, seed=0).eval()
    states = plain(input_ids=ids, output_hidden_states=True).hidden_states
    assert not torch.equal(states[0], states[1]), "control"
