from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from pipeline.config.recipes import run_config
from pipeline.config.schema import ModelConfig
from pipeline.training.model import build_model
from pipeline.training.muon import Muon, orthogonal
from pipeline.training.optimizer import build_optimizer, matrices_of_blocks

MODEL = ModelConfig(n_layer=2, n_embd=16, n_head=2, n_positions=32, window=16, vocab_size=50)
RATES = {"lr": 0.1, "weight_decay": 0.0, "adam_lr": 0.01, "adam_betas": (0.9, 0.95)}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shape", [(24, 48), (16, 64), (64, 16)])
def test_singular_values_are_moved_near_1_and_directions_stay(shape: tuple[int, int], dtype: torch.dtype) -> None:
    matrices = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    small = orthogonal(1e-8 * matrices, dtype)  # 0 in float16
    assert torch.nn.functional.cosine_similarity(small.flatten(), matrices.flatten(), dim=0) > 0.5
    found = orthogonal(matrices, dtype)
    assert found.dtype == torch.float32
    values = torch.linalg.svdvals(found)
    assert found.shape == matrices.shape
    assert values.min() > 0.6 and values.max() < 1.3
    assert torch.linalg.svdvals(matrices).max() > 3, "control"
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    assert torch.nn.functional.cosine_similarity(found.flatten(1), (left @ right).flatten(1)).min() > 0.98


def test_the_matrices_are_those_of_the_blocks_and_nothing_is_left_out() -> None:
    model = build_model(MODEL, eos_id=0, seed=0)
    matrices, others = matrices_of_blocks(model)
    assert len(matrices) == 4 * MODEL.n_layer
    assert sum(p.numel() for p in [*matrices, *others]) == MODEL.num_parameters
    assert any(p is model.transformer.wte.weight for p in others), "an embedding is not a linear map between two spaces"


def test_query_key_and_value_are_three_matrices() -> None:
    """Their updates have 3 x 8 singular values of equal size; treated as one matrix, only 8."""
    weights = nn.Parameter(torch.zeros(8, 24))
    weights.grad = torch.randn(8, 24, generator=torch.Generator().manual_seed(0))
    weights.grad[:, :8] *= 100  # the queries' gradient, which would otherwise dominate the update
    Muon([weights], [], **RATES).step()
    for part in weights.detach().chunk(3, dim=1):
        values = torch.linalg.svdvals(part)
        assert values.min() / values.max() > 0.5
        assert values.max() == pytest.approx(0.1 * 0.2 * 8**0.5, rel=0.3)


def test_other_parameters_are_updated_as_by_adamw() -> None:
    ours, theirs = (nn.Parameter(torch.linspace(-1, 1, 12).view(3, 4)) for _ in range(2))
    muon = Muon([], [ours], **RATES)
    adamw = torch.optim.AdamW([theirs], lr=0.01, betas=(0.9, 0.95), weight_decay=0.0)
    for step in range(5):
        for parameter, optimizer in ((ours, muon), (theirs, adamw)):
            parameter.grad = torch.sin(parameter.detach() * (step + 1))
            optimizer.step()
    assert torch.allclose(ours, theirs, rtol=1e-6)


def test_weight_decay_shrinks_only_the_matrices() -> None:
    matrix, vector = nn.Parameter(torch.ones(4, 8)), nn.Parameter(torch.ones(4))
    matrix.grad, vector.grad = torch.zeros(4, 8), torch.zeros(4)
    Muon([matrix], [vector], **{**RATES, "weight_decay": 0.5}).step()
    assert torch.allclose(matrix, torch.full((4, 8), 1 - 0.1 * 0.5))
    assert torch.equal(vector, torch.ones(4))


def test_training_resumes_bit_identically_from_the_optimizer_state() -> None:
    config = run_config(corpus="c", preset="tiny", recipe="fast", vocab_size=50, train_tokens=10**6).training

    def trained(model: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
        for step in steps:
            ids = torch.randint(0, 50, (2, 16), generator=torch.Generator().manual_seed(step))
            model(input_ids=ids, labels=ids).loss.backward()
            optimizer.step()
            optimizer.zero_grad()

    model, again = (build_model(MODEL, eos_id=0, seed=0).eval() for _ in range(2))
    optimizer = build_optimizer(model, config)
    assert isinstance(optimizer, Muon)
    trained(model, optimizer, range(3))
    again.load_state_dict(model.state_dict())
    resumed = build_optimizer(again, config)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))  # else both would share tensors
    trained(model, optimizer, range(3, 6))
    trained(again, resumed, range(3, 6))
    # With it, load_state_dict moves each step count to the GPU, where the fused kernel reads it.
    assert resumed.param_groups[1]["fused"] is True
    assert all(torch.equal(one, other) for one, other in zip(model.parameters(), again.parameters(), strict=True))
