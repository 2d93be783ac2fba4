from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.core.errors import DamagedError
from pipeline.training.state_file import has_state, read_state, write_state


def test_a_nested_state_comes_back_with_types_and_bits(tmp_path: Path) -> None:
    step = torch.tensor(3.0)
    moments = torch.rand(4, 5, dtype=torch.bfloat16)
    state = {
        "state": {0: {"step": step, "exp_avg": moments}, 1: {"step": step, "exp_avg": torch.zeros(0)}},
        "groups": [{"betas": (0.9, 0.95), "lr": 1 / 3, "fused": True, "foreach": None, "params": [0, 1]}],
        "random": [torch.arange(7, dtype=torch.uint8)],
        "found": [math.inf, -math.inf, math.nan],
    }
    write_state(tmp_path, "all", state)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all.json", "all.safetensors"]
    found = read_state(tmp_path, "all")
    assert found["state"].keys() == {0, 1}, "keys stay numbers"
    assert torch.equal(found["state"][0]["exp_avg"], moments) and found["state"][0]["exp_avg"].dtype == torch.bfloat16
    assert found["state"][1]["step"] == 3.0 and found["state"][1]["exp_avg"].shape == (0,)
    assert found["groups"] == state["groups"] and type(found["groups"][0]["betas"]) is tuple
    assert found["groups"][0]["lr"].hex() == (1 / 3).hex()
    assert torch.equal(found["random"][0], torch.arange(7, dtype=torch.uint8))
    assert found["found"][:2] == [math.inf, -math.inf] and math.isnan(found["found"][2])


def test_a_state_without_tensors_is_one_file(tmp_path: Path) -> None:
    write_state(tmp_path, "position", {"skipped_steps": 2})
    assert [path.name for path in tmp_path.iterdir()] == ["position.json"]
    assert read_state(tmp_path, "position") == {"skipped_steps": 2}


def test_what_has_no_form_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="a state holds a set"):
        write_state(tmp_path, "x", {"where": {1, 2}})


def test_the_torch_file_of_an_older_checkpoint_is_read(tmp_path: Path) -> None:
    assert not has_state(tmp_path, "schedule")
    torch.save({"last_epoch": 4}, tmp_path / "schedule.pt")
    assert has_state(tmp_path, "schedule")
    assert read_state(tmp_path, "schedule") == {"last_epoch": 4}


@pytest.mark.parametrize(
    "content",
    [
        "null",
        "{}",
        '{"state": {"tensor": "7"}}',
        '{"state": {"tensor": ["x"]}}',
        '{"state": {"dict": 3}}',
        '{"state": {"dict": [[[1], 2]]}}',
        '{"state": {"run": "code"}}',
        '{"state": {"a": 1, "b": 2}}',
        '{"state": {"float": "x"}}',
        "{",
    ],
)
def test_a_file_that_is_no_state_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "optimizer.json").write_text(content)
    with pytest.raises(DamagedError, match=r"optimizer\.json"):
        read_state(tmp_path, "optimizer")


def test_a_torn_tensor_file_is_named(tmp_path: Path) -> None:
    state: dict[str, Any] = {"a": torch.rand(100)}
    write_state(tmp_path, "optimizer", state)
    path = tmp_path / "optimizer.safetensors"
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(DamagedError, match=r"optimizer\.json does not hold a state \(SafetensorError"):
        read_state(tmp_path, "optimizer")
