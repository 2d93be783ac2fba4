"""Which revisions are offered, and what the page tells of the chosen one."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import gradio as gr
import pytest

from pipeline.artifacts.revision import Revision
from pipeline.artifacts.starter import starter
from pipeline.core.settings import Settings
from pipeline.ui.generate.revision_choice import RevisionChoice
from pipeline.ui.shared.engine import Engine

FIRST = Revision(
    repo="local", revision="a" * 12, run="r", step=100, corpus="c", pushed_at="2026-01-01T00:00:00+00:00",
    eval_loss=2.0, tokens=3_000_000, parameters=1_000_000, commit=None, path=Path(),
)  # fmt: skip
SECOND = replace(FIRST, revision="b" * 12, step=200, pushed_at="2026-01-02T00:00:00+00:00", eval_loss=2.5)


@pytest.fixture
def choice(tmp_path: Path) -> RevisionChoice:
    choice = RevisionChoice(Engine(Settings(home=tmp_path / "home")))
    with gr.Blocks(), gr.Tab() as tab:
        choice.build()
        choice.connect(tab)
    offer(choice, SECOND, FIRST)
    return choice


def offer(choice: RevisionChoice, *revisions: Revision) -> None:
    choice.engine.__dict__["revisions"] = SimpleNamespace(known=lambda: list(revisions))


def values(field: dict[str, Any]) -> list[str]:
    return [value for _, value in field["choices"]]


def test_a_selection_that_is_still_a_choice_is_not_sent_again(choice: RevisionChoice) -> None:
    """Its answer may come after somebody has chosen another one. The starter stays a choice."""
    own = starter()
    assert own is not None
    for chosen, is_sent in (("a" * 12, False), ("newest", False), ("best", False), ("c" * 12, True), (None, True)):
        revision, other, _ = choice.list_revisions(chosen, "b" * 12)
        assert ("value" in revision) == is_sent
        assert "value" not in other and values(other) == ["", "best", "b" * 12, "a" * 12, own.revision]
    assert choice.list_revisions("c" * 12, "c" * 12)[0]["value"] == "newest"
    assert choice.list_revisions("c" * 12, "c" * 12)[1]["value"] == ""
    assert choice.list_revisions(None, "")[1].get("value", "") == ""


def advice_of(choice: RevisionChoice, chosen: str) -> str:
    """The advice without the link, which every choice has."""
    advice, link = re.fullmatch(
        r'<p class="note advice">(.*)<button [^>]*data-address="([^"]*)".*', choice.advise(chosen)
    ).groups()  # type: ignore[union-attr]
    assert link == "revision=" + quote(chosen, safe="/")
    return advice


def test_a_better_one_is_named_and_one_press_chooses_it(choice: RevisionChoice) -> None:
    advice = advice_of(choice, "newest")
    assert "Step 100 of r predicts the validation files better: loss 2.00" in advice and "this one 2.50" in advice
    assert f'data-take="{choice.choose_best()}"' in advice
    field, _ = choice.updates(choice.choose_best(), None)
    assert field["value"] == "best" and ("best: step 100 of r, loss 2.000", "best") in field["choices"]
    assert advice_of(choice, "best") == advice_of(choice, "a" * 12) == ""


@pytest.mark.parametrize(
    "newest",
    [
        replace(SECOND, eval_loss=1.75),
        replace(SECOND, eval_loss=FIRST.eval_loss),
        replace(SECOND, corpus="other"),
        replace(SECOND, corpus="other", eval_loss=None),
    ],
)
def test_nothing_is_said_where_the_newest_is_best_or_cannot_be_compared(
    choice: RevisionChoice, newest: Revision
) -> None:
    offer(choice, newest, FIRST)
    assert advice_of(choice, "newest") == ""
    assert "best" not in values(choice.updates(None, None)[0])


def test_an_older_one_on_another_corpus_is_not_compared(choice: RevisionChoice) -> None:
    offer(choice, SECOND, replace(FIRST, corpus="other", eval_loss=9.0))
    assert advice_of(choice, "a" * 12) == ""


def test_a_young_and_a_diverged_one_say_so(choice: RevisionChoice) -> None:
    young = replace(SECOND, tokens=160_000)
    offer(choice, young, replace(FIRST, diverged=True))
    assert "It has read 160.0 k tokens, fewer than its 1.0 M weights" in advice_of(choice, "newest")
    assert "data-take" not in advice_of(choice, "newest"), "the other one has diverged"
    assert "has diverged" in advice_of(choice, "a" * 12) and "Step 200 of r" in advice_of(choice, "a" * 12)
    diverged = next(name for name, value in choice.updates(None, None)[0]["choices"] if value == "a" * 12)
    assert diverged.endswith("· diverged")


def test_the_starter_and_models_of_others_have_no_advice(choice: RevisionChoice) -> None:
    offer(choice, replace(FIRST, repo="starter", run="starter"))
    assert advice_of(choice, "newest") == advice_of(choice, "somebody/gpt2@" + "0" * 40) == ""
