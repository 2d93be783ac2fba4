"""The owner evaluates a run from its page: progress, a killed page, Stop by keyboard, and what a visitor sees."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page as Tab
from playwright.sync_api import expect

from pipeline.core.atomic_io import read_json
from pipeline.core.paths import Home
from pipeline.core.settings import Settings
from pipeline.jobs.views import evaluation_view
from tests.browser.conftest import show
from tests.browser.test_axe import violations
from tests.browser.test_look import ON_PHONE
from tests.evaluation import CONFINES
from tests.generation.models import push, tiny_model
from tests.homes import write_corpus, write_run
from tests.page import Page
from tests.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.browser, CONFINES]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """With a run of which one revision was pushed, whose model writes nonsense."""
    home = Home(tmp_path / "home")
    write_corpus(home, "ready")
    run = write_run(home, "small-otter")
    uid = (read_json(run.config) or {}).get("run_uid")
    revision = push(Settings(home=home.path), 20, tiny_model(n_positions=1_024), run_uid=uid)
    run.pushes.write_text(
        f'{{"step": 20, "state": "registered", "revision": "{revision.revision}", "repo": "local"}}\n'
    )
    return home


def opened(page: Page, open_tab: Callable[..., Tab], **look: object) -> Tab:
    tab = open_tab(page.url, **look)
    show(tab, "Train")
    return tab


def test_an_evaluation_outlives_the_page_and_is_stopped_on_the_next(
    home: Home, start_page: Callable[..., Page], open_tab: Callable[..., Tab]
) -> None:
    page = start_page()
    tab = opened(page, open_tab)
    expect(tab.locator("#evaluations")).to_contain_text("Not evaluated yet")
    tab.locator("#evaluate").dblclick()
    expect(tab.locator("#evaluating")).to_contain_text("of 180 tasks written")
    expect(tab.locator("#evaluate")).to_be_hidden()
    request = home.evaluating.request.read_bytes()
    page.kill()
    page.start()
    tab = opened(page, open_tab, **ON_PHONE)
    expect(tab.locator("#evaluating")).to_contain_text("Evaluation of small-otter")
    assert home.evaluating.request.read_bytes() == request, "a second press is not a second job"
    assert evaluation_view(home).state == "running"
    assert violations(tab) == []
    stop = tab.locator("#stop-evaluating")
    expect(stop).to_be_visible()
    stop.focus()
    tab.keyboard.press("Enter")
    eventually(lambda: evaluation_view(home).state == "stopped", "the evaluation stops")
    expect(tab.locator("#evaluate")).to_be_visible()
    expect(tab.locator("#evaluating .job")).to_have_count(0)


def test_a_revision_that_cannot_be_read_is_named(
    home: Home, start_page: Callable[..., Page], open_tab: Callable[..., Tab]
) -> None:
    [folder] = [path for path in home.registry("local").iterdir() if path.is_dir()]
    weights = folder / "model.safetensors"
    weights.chmod(0o644)
    weights.write_bytes(b"")
    tab = opened(start_page(), open_tab)
    tab.locator("#which-revisions input[value=all]").check()
    tab.locator("#evaluate").click()
    expect(tab.locator("#evaluating .notice")).to_contain_text("model.safetensors")
    assert (read_json(home.evaluating.request) or {})["run"] == "small-otter"


def test_a_visitor_sees_no_buttons_and_cannot_press_them(
    home: Home, start_page: Callable[..., Page], open_tab: Callable[..., Tab]
) -> None:
    page = start_page(GRADIO_SERVER_NAME="0.0.0.0", PIPELINE_OWNER_KEY="open sesame open sesame")
    tab = opened(page, open_tab)
    expect(tab.locator("#strip")).to_contain_text("small-otter")
    expect(tab.locator("#evaluate")).to_be_hidden()
    tab.locator("#evaluate").dispatch_event("click")
    expect(tab.locator("#evaluate-answer .notice")).to_have_count(1)
    assert not home.evaluating.request.exists()
