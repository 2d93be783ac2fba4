from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import nn

from pipeline.config.recipes import run_config
from pipeline.core.errors import InputError
from pipeline.training.optimizer import build_optimizer, build_schedule
from pipeline.training.state import Copies, TrainingState, random_state, restore_random_state
from pipeline.training.state_file import read_state, write_state

CONFIG = run_config(
    corpus="c", preset="tiny", recipe="accelerate", vocab_size=300, train_tokens=10**6, changes={"max_steps": 50}
).training
CPU = torch.device("cpu")


@pytest.fixture
def accelerator() -> Accelerator:
    AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(cpu=True)


class Training:
    """One layer trained on noise."""

    def __init__(self, accelerator: Accelerator) -> None:
        torch.manual_seed(0)
        self.model = nn.Linear(4, 4)
        optimizer = build_optimizer(self.model, CONFIG)
        self.schedule = build_schedule(optimizer, CONFIG)
        self.optimizer = accelerator.prepare(optimizer)
        self.state = TrainingState(accelerator, optimizer=self.optimizer, schedule=self.schedule)

    def step(self, times: int) -> None:
        for _ in range(times):
            self.model(torch.rand(2, 4)).square().mean().backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.schedule.step()


def test_training_resumes_bit_identically(accelerator: Accelerator, tmp_path: Path) -> None:
    first = Training(accelerator)
    first.step(5)
    first.state.snapshot()(tmp_path / "training")
    weights = {name: value.clone() for name, value in first.model.state_dict().items()}
    first.step(5)

    second = Training(accelerator)
    second.model.load_state_dict(weights)
    second.state.load(tmp_path / "training")
    restore_random_state(tmp_path / "training", accelerator)
    second.step(5)
    assert torch.equal(first.model.weight, second.model.weight)
    assert first.schedule.get_last_lr() == second.schedule.get_last_lr()


@pytest.mark.parametrize("omitted", ["optimizer", "random"])
def test_omitting_a_part_of_the_state_is_detected(accelerator: Accelerator, tmp_path: Path, omitted: str) -> None:
    """Negative control of the test above."""
    first = Training(accelerator)
    first.step(5)
    first.state.snapshot()(tmp_path / "training")
    weights = {name: value.clone() for name, value in first.model.state_dict().items()}
    first.step(5)

    second = Training(accelerator)
    second.model.load_state_dict(weights)
    if omitted != "optimizer":
        second.state.load(tmp_path / "training")
    if omitted != "random":
        restore_random_state(tmp_path / "training", accelerator)
    second.step(5)
    assert not torch.equal(first.model.weight, second.model.weight)


def test_another_number_of_processes_is_refused(accelerator: Accelerator, tmp_path: Path) -> None:
    training = Training(accelerator)
    training.state.snapshot()(tmp_path / "training")
    write_state(tmp_path / "training", "random", [random_state(CPU), random_state(CPU)])
    with pytest.raises(InputError, match=r"trained by 2 process\(es\) and would go on with 1; start it with 2 again"):
        restore_random_state(tmp_path / "training", accelerator)


def test_an_older_file_that_would_run_code_is_not_read(accelerator: Accelerator, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return Path.touch, (tmp_path / "exploded",)

    training = Training(accelerator)
    training.state.snapshot()(tmp_path / "training")
    (tmp_path / "training" / "random.json").unlink()
    torch.save(Bomb(), tmp_path / "training" / "random.pt")
    with pytest.raises(pickle.UnpicklingError):
        restore_random_state(tmp_path / "training", accelerator)
    assert not (tmp_path / "exploded").exists()


def test_a_snapshot_is_of_the_moment_it_was_taken(accelerator: Accelerator, tmp_path: Path) -> None:
    training = Training(accelerator)
    training.step(2)
    save, moment = training.state.snapshot(), Copies().of(training.optimizer.state_dict())
    training.step(2)
    save(tmp_path / "training")
    written = read_state(tmp_path / "training", "optimizer")
    assert all(torch.equal(written["state"][n]["exp_avg"], moment["state"][n]["exp_avg"]) for n in moment["state"])
    now = training.optimizer.state_dict()
    assert not torch.equal(written["state"][0]["exp_avg"], now["state"][0]["exp_avg"]), "control: training went on"


def test_tensors_that_share_memory_share_one_copy() -> None:
    tied = torch.rand(3, 2)
    copy = Copies().of({"in": tied, "out": tied, "other": (torch.rand(3, 2), [1, "x"])})
    assert copy["in"] is copy["out"]
    assert copy["in"].data_ptr() != tied.data_ptr() != copy["other"][0].data_ptr()
    assert copy["other"][1] == [1, "x"]


def test_copies_reuse_the_previous_buffers() -> None:
    copies, values = Copies(), {"a": torch.rand(4, 3), "empty": [torch.rand(0), torch.rand(0)], "b": torch.rand(5)}
    first = copies.of(values)
    addresses = [first["a"].data_ptr(), first["b"].data_ptr()]
    assert addresses[0] != addresses[1]
    values["a"] += 1
    again = copies.of(values)
    assert [again["a"].data_ptr(), again["b"].data_ptr()] == addresses
    assert torch.equal(again["a"], values["a"]) and torch.equal(again["b"], values["b"])
    other = copies.of({"a": torch.zeros(7, dtype=torch.int64), "b": values["b"]})
    assert torch.equal(other["a"], torch.zeros(7, dtype=torch.int64)) and torch.equal(other["b"], values["b"])
