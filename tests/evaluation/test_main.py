"""The job of an evaluation, in this process and with a suite of two tasks."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from pipeline.artifacts.revision import Revision
from pipeline.config.requests import EvaluateRequest
from pipeline.core.atomic_io import read_json, write_json
from pipeline.core.errors import DamagedError, DivergedError, FieldError, PipelineError
from pipeline.core.job_process import JobProcess, StopRequested
from pipeline.core.paths import Home
from pipeline.core.settings import Settings
from pipeline.evaluation import __main__ as job_module
from pipeline.evaluation.__main__ import main, run
from tests.evaluation import CONFINES
from tests.evaluation.test_evaluate import task, write_prepared
from tests.generation.models import insist_on, push, tiny_model

SUITE = (task("right", "x = ", "assert str(x).startswith('11')"), task("wrong", "x = ", "assert x == 2"))


@pytest.fixture(autouse=True)
def own_signals() -> Iterator[None]:
    """A job takes SIGINT and SIGTERM for itself."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def asked(revisions: list[Revision], **changes: Any) -> EvaluateRequest:
    facts = tuple({**one.to_dict(), "path": str(one.path)} for one in revisions)
    return EvaluateRequest(revisions=facts, **{"samples": 2, **changes})


def carry_out(home: Home, request: EvaluateRequest) -> dict[str, Any]:
    with JobProcess(home.evaluating) as job:
        run(job, request, SUITE)
    return read_json(home.evaluating.status) or {}


@CONFINES
@pytest.mark.slow
def test_each_revision_is_evaluated_once_and_one_that_is_damaged_is_left_out(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(home=tmp_path / "home")
    home = Home(settings.home)
    (token_id,) = tokenizer.encode("1")
    first, second = (push(settings, step, insist_on(tiny_model(n_positions=256), token_id)) for step in (10, 20))
    status = carry_out(home, asked([first, second]))
    assert (status["state"], status["number"], status["step"], status["stage"]) == ("finished", 2, 20, "read")
    found = read_json(home.evaluation(first.revision)) or {}
    assert (found["tasks"]["pass@1"]["value"], found["samples"], found["repo"]) == (0.5, 2, "local")

    def never(*args: object, **options: object) -> None:
        raise AssertionError("it was evaluated before")

    with monkeypatch.context() as patched:
        patched.setattr(job_module, "evaluate", never)
        carry_out(home, asked([first, second]))
        with pytest.raises(AssertionError):
            carry_out(home, asked([first], samples=1))
        with pytest.raises(AssertionError):
            carry_out(home, asked([first], again=True))
        write_prepared(home.corpus("installed"), tokenizer)
        with pytest.raises(AssertionError):
            carry_out(home, asked([first]))
    weights = second.path / "model.safetensors"
    weights.chmod(0o644)
    weights.write_bytes(b"")
    with pytest.raises(PipelineError, match="1 of 2 revisions were not evaluated: "):
        carry_out(home, asked([second, first], again=True))
    assert (read_json(home.evaluating.status) or {})["state"] == "failed"
    assert (read_json(home.evaluation(first.revision)) or {})["held_out"]["corpus"] == "installed"


@CONFINES
@pytest.mark.slow
def test_a_stop_keeps_what_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(home=tmp_path / "home")
    home = Home(settings.home)
    revision = push(settings, 10, tiny_model(n_positions=256))
    write_json(home.evaluation("earlier"), {})

    def stops(*args: object, show: Any, **options: object) -> None:
        show("write", 1, 2)
        raise StopRequested

    monkeypatch.setattr(job_module, "evaluate", stops)
    status = carry_out(home, asked([revision]))
    assert (status["state"], status["done"], status["total"]) == ("stopped", 1, 2)
    assert [path.name for path in home.evaluations.iterdir()] == ["earlier.json"]


@pytest.mark.parametrize(
    ("error", "exit_status"),
    [
        (FieldError("samples", 0, "set 1 to 100"), 2),
        (DivergedError("The loss is not finite.", step=3, reason="loss"), 1),
        (DamagedError("model.safetensors is damaged."), 1),
    ],
)
@pytest.mark.parametrize("count", [1, 2])
def test_why_a_revision_was_left_out_is_told_whatever_the_kind_of_its_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: PipelineError, exit_status: int, count: int
) -> None:
    def refuse(*args: object) -> None:
        raise error

    monkeypatch.setattr(job_module, "Sandbox", contextlib.nullcontext)
    monkeypatch.setattr(job_module, "_evaluate", refuse)
    home = Home(tmp_path)
    with pytest.raises(PipelineError) as raised, JobProcess(home.evaluating) as job:
        run(job, EvaluateRequest(revisions=({},) * count), SUITE)
    told = "2 of 2 revisions were not evaluated: " if count == 2 else ""
    status = read_json(home.evaluating.status) or {}
    assert status["error"] == f"{told}{error}" == str(raised.value)
    assert (status["state"], status["exit_status"], raised.value.exit_status) == ("failed", exit_status, exit_status)


def test_a_wrong_call_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "give one folder" in capsys.readouterr().err
