"""Compares ours with torch's own, which makes a float32 copy of all logits, and checks that ours makes none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from pipeline.training import cross_entropy
from pipeline.training.cross_entropy import CrossEntropy

ROWS, VOCAB = 50, 600


@pytest.fixture(autouse=True)
def seven_rows_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cross_entropy.VALUES_AT_A_TIME, "cpu", 7 * VOCAB)


def plain(logits: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(logits.float(), targets, reduction="none")


def losses_and_gradients(loss: Callable[[Tensor, Tensor], Tensor], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    logits = (4 * torch.randn(ROWS, VOCAB)).to(dtype).requires_grad_()
    before = logits.detach().clone()
    losses = loss(logits, torch.randint(0, VOCAB, (ROWS,)))
    losses.backward(torch.rand(ROWS))
    assert logits.grad is not None
    assert torch.equal(logits, before), "the caller's logits must not change"
    return losses.detach(), logits.grad


class LargestFloats(TorchDispatchMode):
    """Records the size of the largest float32 tensor that any operation returns meanwhile."""

    count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and result.dtype == torch.float32:
            self.count = max(self.count, result.numel())
        return result


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_losses_and_gradients_are_those_of_torch(dtype: torch.dtype) -> None:
    expected_losses, expected_gradients = losses_and_gradients(plain, dtype)
    losses, gradients = losses_and_gradients(CrossEntropy.apply, dtype)
    assert losses.dtype == torch.float32 and gradients.dtype == dtype
    torch.testing.assert_close(losses, expected_losses, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(gradients, expected_gradients, rtol=2 * torch.finfo(dtype).eps, atol=1e-6)


def test_no_more_rows_are_float32_at_a_time_than_allowed() -> None:
    torch.manual_seed(0)
    logits, targets = torch.randn(ROWS, VOCAB).bfloat16().requires_grad_(), torch.randint(0, VOCAB, (ROWS,))
    for loss, max_count in ((CrossEntropy.apply, 7 * VOCAB), (plain, ROWS * VOCAB)):
        with LargestFloats() as largest:
            loss(logits, targets).sum().backward()
        assert largest.count == max_count


def test_very_large_logits_give_finite_losses() -> None:
    logits = torch.tensor([[3e38, -3e38, 0.0]], requires_grad=True)
    losses = CrossEntropy.apply(logits, torch.tensor([0]))
    losses.sum().backward()
    assert losses.item() == 0.0 and torch.equal(logits.grad, torch.zeros(1, 3))


def test_a_nan_logit_gives_a_nan_loss() -> None:
    assert CrossEntropy.apply(torch.tensor([[0.0, float("nan")]]), torch.tensor([0])).isnan().all()
