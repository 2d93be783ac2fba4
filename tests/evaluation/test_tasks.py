"""The suite is sound: each reference solution passes, and each mutant, nothing and `pass` fail."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.core.errors import DamagedError
from pipeline.evaluation.sandbox import Program, Sandbox
from pipeline.evaluation.tasks import CodeTask, tasks
from tests.evaluation import CONFINES

LIBRARIES = ("numpy", "pandas", "matplotlib", "seaborn", "sklearn")
TASK = CodeTask(
    name="x", library="numpy", prompt="# x\n", max_lines=2, check="", solution="x = 1\n", mutants=("x = 2\n", "x\n")
)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


def test_there_are_a_hundred_tasks_of_all_libraries_with_two_mutants_each() -> None:
    assert len(tasks()) >= 100
    counts = Counter(task.library for task in tasks())
    assert set(counts) == set(LIBRARIES) and min(counts.values()) >= 20
    for task in tasks():
        assert len(task.mutants) >= 2 and 1 <= task.max_lines <= 5, task.name
        assert task.cut(task.solution).split() == task.solution.split(), f"{task.name}: the solution is cut"


@CONFINES
@pytest.mark.slow
@pytest.mark.parametrize("library", LIBRARIES)
def test_solutions_pass_and_mutants_fail(sandbox: Sandbox, library: str) -> None:
    mine = [task for task in tasks() if task.library == library]
    tried = [
        (task, text, text == task.solution) for task in mine for text in (task.solution, *task.mutants, "", "pass\n")
    ]
    outcomes = sandbox.run(Program(task.program(text), task.check) for task, text, _ in tried)
    wrong = [
        f"{task.name}: {text!r}: {outcome}"
        for (task, text, is_right), outcome in zip(tried, outcomes, strict=True)
        if outcome.is_right != is_right
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("completion", "kept"),
    [
        ("a\nb\nc\n", "a\nb"),
        ("a\n\n\nb\nc", "a\n\n\nb"),
        ("", ""),
        ("a", "a"),
    ],
)
def test_a_completion_is_cut_after_its_lines(completion: str, kept: str) -> None:
    assert TASK.cut(completion) == kept


@pytest.mark.parametrize(
    ("prompt", "completion", "kept"),
    [
        ('def f(x):\n    """Twice x."""\n', "    return 2 * x\nprint(f(1))\n", "    return 2 * x"),
        ('def f(x):\n    """Twice x."""\n', "print(1)\n", ""),
        ("def f(x):\n    y =", " 2 * x\n    return y\nf(1)", " 2 * x\n    return y"),
        ("def f(x):\n    y =", "2 * x\n    return y\nf(1)", "2 * x\n    return y"),
    ],
)
def test_a_function_ends_where_its_body_does(prompt: str, completion: str, kept: str) -> None:
    assert replace(TASK, prompt=prompt).cut(completion) == kept


@pytest.mark.parametrize(
    "text", ["x = ", "[[task]]\nname = 'x'", "[[task]]\nname = 1\nmutants = 3", "task = 3", "[[other]]\nx = 1"]
)
def test_a_file_that_is_no_list_of_tasks_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "numpy.toml").write_text(text)
    with pytest.raises(DamagedError, match=r"numpy.toml is not a list of tasks"):
        tasks(tmp_path)


def test_two_tasks_of_one_name_are_refused(tmp_path: Path) -> None:
    row = "[[task]]\nname='x'\nprompt=''\nmax_lines=1\ncheck=''\nsolution=''\nmutants=[]\n"
    (tmp_path / "numpy.toml").write_text(row + row)
    with pytest.raises(DamagedError, match="two tasks named x"):
        tasks(tmp_path)
