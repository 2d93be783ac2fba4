"""The gradients of one optimizer step: all or none; in smaller micro-batches when memory runs out."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState
from torch.optim import AdamW

from pipeline.core.atomic_io import read_json
from pipeline.core.errors import ResourceError
from pipeline.core.paths import Home
from pipeline.training import gradient_accumulation
from pipeline.training import session as session_module
from pipeline.training.gradient_accumulation import accumulate
from pipeline.training.run import open_run
from pipeline.training.session import Session, open_session
from tests.training.runs import ask_to_resume, losses, new_run, stops_at, train_here

MEGABYTE = 2**20
LARGE = {"window": 128, "batch_size": 2048, "max_steps": 2, "warmup_steps": 1, "eval_windows": 4, "n_layer": 1}
"""Steps with hundreds of megabytes of activations: those of 2,048 windows of 128 tokens."""


@pytest.fixture
def session(home: Home) -> Session:
    AcceleratorState._reset_state(reset_partial_state=True)
    folder = new_run(home)
    return open_session(open_run(folder, read_json(folder.request) or {}))


@pytest.fixture
def little_memory() -> Iterator[None]:
    """Limit memory to about 600 MB more than this process uses."""
    used = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmData"))
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (int(used.split()[1]) * 1_024 + 600 * MEGABYTE, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_DATA, before)


def gradients(session: Session) -> list[torch.Tensor]:
    return [p.grad.clone() for p in session.model.parameters() if p.grad is not None]


def test_a_dropped_step_leaves_no_gradients_and_restores_the_random_state(session: Session) -> None:
    before = torch.get_rng_state()
    answers = iter([False, True])
    assert session.num_micro_batches == 2
    assert accumulate(session, 1, should_stop=lambda: not next(answers), say=print) is None
    assert not gradients(session)
    assert torch.equal(torch.get_rng_state(), before)
    assert accumulate(session, 1, should_stop=lambda: False, say=print) is not None
    assert gradients(session), "control"
    assert not torch.equal(torch.get_rng_state(), before), "control: dropout draws"


def test_a_stop_in_the_middle_of_a_step_leaves_the_run_at_the_previous_step(home: Home) -> None:
    folder = new_run(home)
    status = train_here(folder, stops_at(4))
    assert (status["state"], status["step"]) == ("stopped", 4)
    assert max(losses(folder)) == 4


@pytest.mark.slow
def test_out_of_memory_reduces_the_micro_batch_size_and_is_logged(
    home: Home, capsys: pytest.CaptureFixture[str], little_memory: None
) -> None:
    folder = new_run(home, **LARGE, micro_batch_size=2048, dropout=0)
    assert train_here(folder)["state"] == "finished"
    said = capsys.readouterr().out
    assert "out of memory at step 1" in said
    assert "the global batch stays 2048" in said
    size = (read_json(folder.config) or {})["chosen"]["micro_batch_size"]
    assert size in (1024, 512, 256, 128, 64)
    whole = new_run(home, "whole", **LARGE, micro_batch_size=16, dropout=0)
    train_here(whole)
    for step, row in losses(whole).items():
        assert losses(folder)[step] == pytest.approx(row, rel=1e-5)


@pytest.mark.slow
def test_a_resumed_run_keeps_the_reduced_micro_batch_size(home: Home, little_memory: None) -> None:
    folder = new_run(home, **LARGE, micro_batch_size=2048)
    train_here(folder, stops_at(1))
    size = (read_json(folder.config) or {})["chosen"]["micro_batch_size"]
    ask_to_resume(folder)
    request = read_json(folder.request) or {}
    AcceleratorState._reset_state(reset_partial_state=True)
    assert open_session(open_run(folder, request)).micro_batch_size == size < 2048


@pytest.mark.slow
def test_a_single_window_that_does_not_fit_fails_with_a_remedy(home: Home, little_memory: None) -> None:
    shape = {"vocab_size": 1_000_000, "n_embd": 8, "n_layer": 1, "window": 128}
    folder = new_run(home, **shape, batch_size=1, micro_batch_size=1, eval_every_steps=100, max_steps=100)
    with pytest.raises(ResourceError, match=r"micro-batches of 1 window\(s\) .*choose a smaller preset or window"):
        train_here(folder)


class OutOfMemoryAdamW(AdamW):
    """Runs out of memory for its state, which the first step allocates."""

    def step(self, closure: Any = None) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 12.00 GiB.\nMore of it")


def test_out_of_memory_in_the_optimizer_step_is_one_sentence(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "build_optimizer", lambda model, *_, **__: OutOfMemoryAdamW(model.parameters()))
    folder = new_run(home)
    sentence = (
        r"^Run run ran out of memory with micro-batches of 4 window\(s\) \(CUDA out of memory\. Tried to allocate 12\.00 "
        r"GiB\.\); set a micro_batch_size below 4, or close other programs\.$"
    )
    with pytest.raises(ResourceError, match=sentence):
        train_here(folder)


def test_out_of_memory_names_what_other_programs_hold(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "build_optimizer", lambda model, *_, **__: OutOfMemoryAdamW(model.parameters()))
    held = "; other programs hold 13.0 of its 16.0 GB"
    monkeypatch.setattr(gradient_accumulation, "held_by_others", lambda device: held)
    with pytest.raises(ResourceError, match=rf"Tried to allocate 12\.00 GiB\.{held}\); set a micro_batch_size below 4"):
        train_here(new_run(home))


def test_a_stop_in_the_middle_of_a_step_keeps_the_metrics_of_the_previous_step(home: Home) -> None:
    folder = new_run(home, eval_every_steps=4, checkpoint_every_steps=100)
    train_here(folder, stops_at(4))
    provenance = read_json(folder.checkpoint(4) / "provenance.json") or {}
    assert provenance["eval_loss"] == losses(folder)[4]["eval_loss"]
