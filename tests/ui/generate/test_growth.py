from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from pipeline.artifacts.revision import Revision
from pipeline.config.prompts import course_prompts
from pipeline.core.errors import PipelineError
from pipeline.generation.settings import Sampling
from pipeline.ui.generate.growth import Growth, chosen, grown
from tests.ui.generate.test_revision_choice import FIRST


def run(number: int, **changes: dict[str, Any]) -> list[Revision]:
    """Revisions of one loss. `changes`: by the name of their step."""
    return [
        replace(FIRST, **{"revision": f"{step:012x}", "step": step, "eval_loss": 9.0, **changes.get(f"s{step}", {})})
        for step in range(1, number + 1)
    ]


class Writer:
    """A generator whose answer is the step."""

    def __init__(self, answer: Callable[[Revision], dict[str, Any]] | None = None) -> None:
        self.answer = answer or (lambda revision: {"samples": [str(revision.step)], "finish": ["length"]})
        self.asked: list[tuple[int, Sampling]] = []

    def generate(self, revision: Revision, prompt: str, sampling: Sampling, **who: str) -> dict[str, Any]:
        self.asked.append((revision.step, sampling))
        return self.answer(revision)


def grow(writer: Writer, growth: Growth, is_stopped: Callable[[], bool] = lambda: False) -> list[int]:
    """How many steps had written at each update."""
    sampling = Sampling(samples=3, seed=7)
    who = {"visitor": "", "asked_by": ""}
    written = grown(writer, growth, sampling, fetch=lambda revision: revision, is_stopped=is_stopped, **who)  # type: ignore[arg-type]
    return [len(one.written) for one in written]


def test_of_a_long_run_the_first_the_last_and_the_best_are_among_the_steps() -> None:
    steps = run(100, s42={"eval_loss": 1.0}, s50={"diverged": True, "eval_loss": 0.5})
    found = [revision.step for revision in chosen(steps)]
    assert len(found) <= 16 and found == sorted(found)
    assert {1, 42, 100} <= set(found) and 50 not in found
    gaps = {b - a for a, b in itertools.pairwise(found)}
    assert max(gaps) <= 9, "about evenly"


@pytest.mark.parametrize("number", [1, 2, 16])
def test_of_a_short_run_all_are(number: int) -> None:
    assert chosen(run(number)) == run(number)


def test_a_run_that_has_diverged_from_its_first_step_is_shown_as_it_is() -> None:
    steps = [replace(revision, diverged=True) for revision in run(3)]
    assert chosen(steps) == steps


def test_the_last_step_writes_first_and_the_texts_are_in_the_order_of_the_steps() -> None:
    writer, growth = Writer(), Growth("import", run(3))
    assert grow(writer, growth) == [1, 2, 3]
    assert [step for step, _ in writer.asked] == [3, 1, 2]
    assert {sampling for _, sampling in writer.asked} == {Sampling(samples=1, seed=7)}
    assert [growth.texts[revision.revision] for revision in growth.written] == ["1", "2", "3"]
    assert not growth.is_live and growth.error is None


def test_a_stop_and_a_failure_leave_the_answers_so_far() -> None:
    def stopped(revision: Revision) -> dict[str, Any]:
        return {"samples": ["x"], "finish": ["stopped" if revision.step == 1 else "length"]}

    def failing(revision: Revision) -> dict[str, Any]:
        if revision.step == 1:
            raise PipelineError("The generator ended.")
        return {"samples": ["x"], "finish": ["length"]}

    for answer, error in ((stopped, None), (failing, "The generator ended.")):
        growth = Growth("import", run(3))
        assert grow(Writer(answer), growth) == [1, 1]
        assert not growth.is_live and (str(growth.error) if growth.error else None) == error


def test_a_stop_between_two_steps_is_not_lost() -> None:
    writer, growth = Writer(), Growth("import", run(3))
    assert grow(writer, growth, lambda: len(writer.asked) == 2) == [1, 2, 2]
    assert not growth.is_live and len(growth.texts) == 2


def test_the_courses_answer_stands_beside_the_courses_prompts_only() -> None:
    assert Growth(course_prompts()[0].text, []).course_answer == "plt.scatter(x, y)"
    assert all(Growth(prompt.text, []).course_answer for prompt in course_prompts())
    assert Growth("import", []).course_answer == ""
