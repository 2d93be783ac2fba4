"""A whole evaluation: a model that knows one answer, real programs in the sandbox."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from pipeline.core.paths import Home
from pipeline.core.settings import Settings
from pipeline.evaluation.evaluate import _UpToItsLines, evaluate, task_figures
from pipeline.evaluation.sandbox import ProgramResult, Sandbox
from pipeline.evaluation.tasks import CodeTask
from tests.evaluation import CONFINES
from tests.evaluation.test_tasks import TASK
from tests.generation.models import insist_on, push, tiny_model


def task(name: str, prompt: str, check: str) -> CodeTask:
    return CodeTask(name=name, library="numpy", prompt=prompt, max_lines=1, check=check, solution="", mutants=())


@CONFINES
@pytest.mark.slow
def test_what_a_model_always_writes_is_run_and_counted(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    (token_id,) = tokenizer.encode("1")
    settings = Settings(home=tmp_path / "home")
    revision = push(settings, 10, insist_on(tiny_model(n_positions=256), token_id))
    suite = [
        task("right", "x = ", "assert str(x).startswith('11')"),
        task("wrong", "x = ", "assert x == 2"),
        task("fails", "x = None + ", ""),
        task("does-not-parse", "def ", ""),
    ]
    shown: list[tuple[str, int, int]] = []
    with Sandbox() as sandbox:
        found = evaluate(
            Home(settings.home),
            revision,
            suite,
            sandbox,
            num_samples=3,
            window=128,
            show=lambda *what: shown.append(what),
        )
    scored = found["tasks"]
    assert [(row["parses"], row["runs"], row["right"]) for row in scored["each"]] == [
        (3, 3, 3),
        (3, 3, 0),
        (3, 0, 0),
        (0,) * 3,
    ]
    assert (scored["parses"]["value"], scored["runs"]["value"], scored["pass@1"]["value"]) == (0.75, 0.5, 0.25)
    assert "pass@10" not in scored, "there are three samples"
    assert (found["revision"], found["step"], found["held_out"]) == (revision.revision, 10, None)
    assert shown[-1] == ("run", 12, 12) and ("write", 4, 4) in shown


def test_the_figures_are_means_over_the_tasks() -> None:
    passed, wrong, broken = ProgramResult("passed", ""), ProgramResult("check", "x"), ProgramResult("parse", "x")
    suite = [task("a", "", ""), task("b", "", "")]
    found = task_figures(suite, [[passed] * 5 + [wrong] * 5, [broken] * 10], 10)
    assert (found["parses"]["value"], found["runs"]["value"]) == (0.5, 0.5)
    assert (found["pass@1"]["value"], found["pass@10"]["value"]) == (0.25, 0.5)
    assert found["pass@1_by_library"] == {"numpy": 0.25}


@pytest.mark.parametrize(
    ("text", "shown", "is_over"),
    [
        ("a", "a", False),
        ("a\n", "a", False),
        ("a\nb", "a\nb", False),
        ("a\nb\n", "a\nb", True),
        ("a\n\nb\nc", "a\n\nb", True),
    ],
)
def test_a_completion_ends_with_what_is_run_of_it(text: str, shown: str, is_over: bool) -> None:
    assert _UpToItsLines(TASK).shown(text) == (shown, is_over)
