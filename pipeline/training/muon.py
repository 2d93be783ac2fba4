"""Muon: orthogonalized momentum for the matrices of the blocks, and AdamW for all other parameters.

Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"; the update size as in Liu et al. 2025,
"Muon is Scalable for LLM Training", so that learning rate and weight decay mean the same as for AdamW. torch's own Muon
is not used for two reasons. It always multiplies in bfloat16, which a processor without bfloat16 does 7 to 40 times
more slowly than float32. It also treats query, key and value, which GPT-2 stores side by side, as one matrix.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.adamw import adamw

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of the odd polynomial that brings singular values near 1 (Jordan et al.)."""
NEWTON_SCHULZ_STEPS = 5
ADAM_LIKE = 0.2
"""Root mean square of AdamW's updates, to which Muon's are scaled (Liu et al.)."""
SIDE_BY_SIDE = 3
"""A matrix this many times as wide as high is query, key and value: three matrices."""


class Muon(Optimizer):
    """One optimizer with two parameter groups, so there is one schedule, one state and one file in a checkpoint."""

    def __init__(
        self,
        matrices: Iterable[nn.Parameter],
        others: Iterable[nn.Parameter],
        *,
        lr: float,
        weight_decay: float,
        momentum: float = 0.95,
        adam_lr: float,
        adam_betas: tuple[float, float],
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """`matrices`: float[rows, columns] each. `others` do not decay. `dtype`: of matrix multiplications."""
        super().__init__(
            [
                {"params": list(matrices), "lr": lr, "weight_decay": weight_decay, "momentum": momentum},
                # With `fused`, load_state_dict puts each step count on its parameter's device, as the kernel requires.
                {"params": list(others), "lr": adam_lr, "weight_decay": 0.0, "betas": adam_betas, "fused": True},
            ],
            defaults={},
        )
        self._dtype = dtype

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        assert closure is None
        matrices, others = self.param_groups
        self._step_matrices(matrices)
        self._step_others(others)

    def _step_matrices(self, group: dict[str, Any]) -> None:
        by_shape: dict[torch.Size, list[tuple[Tensor, Tensor]]] = defaultdict(list)
        for matrix in group["params"]:
            if matrix.grad is not None:
                updates = _split_qkv(self._nesterov(matrix, group["momentum"]))
                for part, update in zip(_split_qkv(matrix), updates, strict=True):
                    by_shape[part.shape].append((part, update))
        for shape, pairs in by_shape.items():
            directions = orthogonal(torch.stack([update for _, update in pairs]), self._dtype)
            size = group["lr"] * ADAM_LIKE * max(shape) ** 0.5
            for (part, _), direction in zip(pairs, directions, strict=True):
                part.mul_(1 - group["lr"] * group["weight_decay"]).add_(direction, alpha=-size)

    def _nesterov(self, matrix: nn.Parameter, momentum: float) -> Tensor:
        assert matrix.grad is not None
        state = self.state[matrix]
        if not state:
            state["momentum"] = torch.zeros_like(matrix)
        state["momentum"].lerp_(matrix.grad, 1 - momentum)
        return matrix.grad.lerp(state["momentum"], momentum)

    def _step_others(self, group: dict[str, Any]) -> None:
        parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
        for parameter in parameters:
            if not self.state[parameter]:
                step = torch.zeros((), device=parameter.device)
                moments = {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
                self.state[parameter].update(step=step, **moments)
        states = [self.state[parameter] for parameter in parameters]
        beta1, beta2 = group["betas"]
        adamw(
            parameters,
            [parameter.grad for parameter in parameters],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            [state["step"] for state in states],
            fused=True,
            amsgrad=False,
            beta1=beta1,
            beta2=beta2,
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=1e-8,
            maximize=False,
        )


def orthogonal(matrices: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """float[batch, rows, columns]: each matrix with all its singular values moved to between about 0.7 and 1.2.

    Multiplies in `dtype`: half precision is enough.
    """
    is_tall = matrices.size(-2) > matrices.size(-1)
    values = matrices.mT if is_tall else matrices
    # Normalize to size 1 first: a gradient may be too small for half precision.
    values = (values / (values.norm(dim=(-2, -1), keepdim=True) + 1e-7)).to(dtype)
    a, b, c = NEWTON_SCHULZ
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = values @ values.mT
        values = torch.baddbmm(values, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), values, beta=a)
    return (values.mT if is_tall else values).to(matrices.dtype)


def _split_qkv(matrix: Tensor) -> tuple[Tensor, ...]:
    """The matrix itself, or its query, key and value. They are views, so in-place updates change the matrix."""
    rows, columns = matrix.shape
    return matrix.chunk(SIDE_BY_SIDE, dim=1) if columns == SIDE_BY_SIDE * rows else (matrix,)
