"""The steps of a first visit, by what there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.core.paths import Home
from pipeline.jobs.views import home_view
from pipeline.ui.data.prepare_card import guide
from tests.homes import write_corpus, write_run


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def now(text: str) -> str:
    """The marked step."""
    return text.partition('aria-current="step"')[2].partition("</li>")[0]


def test_the_next_step_is_marked_and_has_its_button(home: Home) -> None:
    assert "Look at real code" in now(guide(home_view(home), is_owner=True))
    write_corpus(home, "ready")
    assert "1.0 M tokens ready: train on it" in now(guide(home_view(home), is_owner=True))
    first = guide(home_view(home), is_owner=True)
    assert "Try the starter model" in first and "Ask your model" not in first
    assert "Ask your model" in guide(home_view(home), is_owner=True, has_own=True), (
        "it answers before its run has ended"
    )
    write_run(home, "calm-kea", state="stopped")
    assert "Ask your model" in now(guide(home_view(home), is_owner=True))


def test_it_is_gone_once_a_run_has_finished(home: Home) -> None:
    write_run(home, "calm-kea")
    assert guide(home_view(home), is_owner=True).strip() == ""


def test_a_visitor_is_not_told_to_train(home: Home) -> None:
    text = guide(home_view(home), is_owner=False)
    assert "Train" not in text and "Try the starter model" in text
    assert 'class="next" data-act="tab" data-tab="2"' in text
