"""A row's result does not depend on the rows beside it, nor on the number of threads, to the last bit."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from pipeline.generation import linear
from pipeline.generation.linear import Build, PackedFloat32, PackedInt8, Plain, RowByRow

EXACT = pytest.mark.parametrize("build", [PackedFloat32, PackedInt8, RowByRow])
SHAPES = [(768, 2304), (3072, 768), (768, 5003), (64, 256), (48, 33)]
"""Inputs and outputs: of the course's model, its head with fewer tokens, a small one, and odd ones."""


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def differs(build: Build, num_in: int, num_out: int) -> list[tuple[int, int]]:
    """The numbers of threads and rows with which a row's result is another one than alone with one thread."""
    random = torch.Generator().manual_seed(0)
    made = build(torch.randn(num_out, num_in, generator=random), torch.randn(num_out, generator=random))
    rows = torch.randn(148, num_in, generator=random)
    torch.set_num_threads(1)
    alone = torch.cat([made(row) for row in rows.split(1)])
    found = []
    for num_threads in (1, 2, 3, 8):
        torch.set_num_threads(num_threads)
        for number in (1, 2, 3, 8, 33, 61, 128, 144, 148):
            if not torch.equal(made(rows[:number]), alone[:number]):
                found.append((num_threads, number))
    return found


@EXACT
@pytest.mark.parametrize(("num_in", "num_out"), SHAPES)
def test_a_row_is_the_same_in_any_batch_with_any_number_of_threads(build: Build, num_in: int, num_out: int) -> None:
    assert differs(build, num_in, num_out) == []


def test_control_the_usual_linear_gives_a_row_another_result_in_another_batch() -> None:
    assert differs(Plain, 768, 2304)


@pytest.mark.parametrize(("build", "largest"), [(PackedFloat32, 1e-5), (RowByRow, 1e-5), (PackedInt8, 0.02)])
@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("is_transposed", [True, False])
def test_it_is_the_product_of_rows_and_weights(
    build: Build, largest: float, with_bias: bool, is_transposed: bool
) -> None:
    """Transposed weights, as GPT-2 has them, were packed as if they were not."""
    weight, rows = torch.randn(64, 96).t() if is_transposed else torch.randn(96, 64), torch.randn(5, 64)
    bias = torch.randn(96) if with_bias else None
    expected = torch.nn.functional.linear(rows.double(), weight.double(), None if bias is None else bias.double())
    assert (build(weight, bias)(rows) - expected).abs().max() < largest * expected.abs().max()


def test_without_onednn_each_row_is_computed_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(weight: torch.Tensor, bias: torch.Tensor | None) -> PackedFloat32:
        raise AttributeError("'_OpNamespace' 'mkldnn' object has no attribute '_reorder_linear_weight'")

    assert linear.exact_float32(64) is PackedFloat32
    monkeypatch.setattr(linear, "PackedFloat32", missing)
    assert linear.exact_float32(64) is RowByRow


def test_what_is_not_exact_on_this_machine_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "PackedFloat32", Plain)
    assert linear.exact_float32(192) is RowByRow
