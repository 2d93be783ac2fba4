from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState
from transformers import pipeline as transformers_pipeline

from pipeline.core.atomic_io import read_json
from pipeline.core.paths import Home
from pipeline.training.fsdp import set_weights, whole_weights
from pipeline.training.run import open_run
from pipeline.training.session import Session, _micro_batch_size, open_session
from tests.training.runs import WINDOW, new_run


@pytest.fixture
def session(home: Home) -> Iterator[Session]:
    AcceleratorState._reset_state(reset_partial_state=True)
    folder = new_run(home)
    yield open_session(open_run(folder, read_json(folder.request) or {}))


def as_one_of(session: Session, rank: int, num_processes: int, micro_batch_size: int) -> Session:
    """The same session as rank `rank` of `num_processes` would see it."""
    accelerator: Any = SimpleNamespace(num_processes=num_processes, process_index=rank, device=torch.device("cpu"))
    return dataclasses.replace(session, accelerator=accelerator, micro_batch_size=micro_batch_size)


@pytest.mark.parametrize(("num_processes", "micro_batch_size"), [(1, 8), (1, 4), (1, 2), (2, 4), (2, 1), (4, 2)])
def test_a_step_sees_the_same_windows_however_they_are_divided(
    session: Session, num_processes: int, micro_batch_size: int
) -> None:
    seed = session.run.config.training.seed
    for step in (1, 2, 7):
        seen = []
        for index in range(8 // (num_processes * micro_batch_size)):
            for rank in range(num_processes):
                part = as_one_of(session, rank, num_processes, micro_batch_size)
                assert part.num_micro_batches == 8 // (num_processes * micro_batch_size)
                seen.append(part.micro_batch(step, index))
        expected = torch.from_numpy(session.train_windows.batch(seed, (step - 1) * 8, 8))
        assert torch.equal(torch.cat(seen), expected)


def test_an_epoch_shows_every_window_once(session: Session) -> None:
    num_windows = len(session.train_windows)
    whole_steps = num_windows // 8
    seen = [session.micro_batch(step, index) for step in range(1, whole_steps + 1) for index in (0, 1)]
    every_window = {tuple(row) for row in torch.cat(seen).tolist()}
    assert len(torch.cat(seen)) == whole_steps * 8 > 100
    assert len(every_window) == len({tuple(row) for row in session.train_windows.batch(0, 0, whole_steps * 8)})


def test_a_checkpoint_is_read_by_transformers_alone(session: Session, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    session.writer(3, {"eval_loss": 5.0, "perplexity": 148.4})(folder)
    assert {path.name for path in folder.iterdir()} == {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "provenance.json",
        "training",
    }
    assert {path.name for path in (folder / "training").iterdir()} == {
        "optimizer.json",
        "position.json",
        "random.json",
        "random.safetensors",
        "schedule.json",
    }
    assert "loss_type" not in (read_json(folder / "config.json") or {}), "transformers warns of one that is null"
    generator = transformers_pipeline("text-generation", model=str(folder), device="cpu")
    answer = generator("import pandas as pd\n", max_new_tokens=4, do_sample=False, return_full_text=True)
    assert answer[0]["generated_text"].startswith("import pandas as pd\n")
    assert generator.model.config.eos_token_id == generator.tokenizer.eos_token_id == session.run.corpus.eos_id


def test_a_session_restored_from_its_checkpoint_is_bit_identical(session: Session, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    session.resume(None)
    torch.rand(5)
    session.writer(3, {})(folder)
    expected = torch.rand(5)
    weights = {name: value.clone() for name, value in session.plain_model.state_dict().items()}
    with torch.no_grad():
        for parameter in session.model.parameters():
            parameter.add_(1.0)
    session.resume(folder)
    assert all(torch.equal(value, weights[name]) for name, value in session.plain_model.state_dict().items())
    assert torch.equal(torch.rand(5), expected)


def test_non_finite_weights_are_detected(session: Session) -> None:
    assert session.weights_are_finite()
    with torch.no_grad():
        next(session.model.parameters())[0, 0] = torch.inf
    assert not session.weights_are_finite()


def test_the_log_says_what_is_trained_and_on_what(session: Session) -> None:
    text = str(session)
    assert f"12 steps of 8 windows of {WINDOW} tokens, 4 at a time; 1 process(es) on cpu" in text
    assert text.endswith("fp32: as set")


def test_weights_are_gathered_and_set_by_the_names_of_the_plain_model(session: Session) -> None:
    """The model is not sharded here, but a sharded one uses the same functions."""
    weights = whole_weights(session.model)
    assert set(weights) == set(session.plain_model.state_dict())
    changed = {name: torch.full_like(value, 0.5) for name, value in weights.items()}
    set_weights(session.model, changed)
    assert all(bool((value == 0.5).all()) for value in session.plain_model.state_dict().values())


def test_the_micro_batch_size_is_kept_if_the_processes_can_share_the_batch(session: Session) -> None:
    cpu = torch.device("cpu")
    assert _micro_batch_size(session.run, {"micro_batch_size": 4}, cpu, 2) == 4
    unset = replace(session.run.config, training=replace(session.run.config.training, micro_batch_size=None))
    run = replace(session.run, config=unset)
    # Eight processes with 4 windows each exceed a batch of 8: a step would have no forward pass.
    assert _micro_batch_size(run, {"micro_batch_size": 4}, cpu, 8) == 1


def test_a_step_without_a_forward_pass_is_an_error(session: Session) -> None:
    with pytest.raises(AssertionError, match="a step without a pass"):
        _ = as_one_of(session, 0, 8, 4).num_micro_batches
