"""A real model writes four samples of two revisions: the page stays usable, and Stop and Escape end it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page as Tab
from playwright.sync_api import expect

from pipeline.artifacts.checkpoint import STATE
from pipeline.core.atomic_io import append_line, write_json
from pipeline.core.paths import Home
from pipeline.core.settings import Settings
from pipeline.hub.publisher import Publisher
from pipeline.training import checkpoints
from tests.browser.conftest import field, show
from tests.generation.models import insist_on, tiny_model, tiny_tokenizer
from tests.homes import write_run
from tests.page import Page

pytestmark = [pytest.mark.slow, pytest.mark.browser]

OpenTab = Callable[..., Tab]
POSITIONS = 1_024
LAYERS = 24
"""With two, all is written within two seconds, before somebody can press Stop."""


@pytest.fixture(scope="module")
def writing_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A page with two revisions that write ` import` until they are stopped or have all their tokens."""
    home = Home(tmp_path_factory.mktemp("writing") / "home")
    run = write_run(home, "calm-kea")
    tokenizer = tiny_tokenizer()
    (token_id,) = tokenizer.encode(" import")
    for step in (10, 20):

        def write(folder: Path, step: int = step) -> None:
            insist_on(tiny_model(n_positions=POSITIONS, n_layer=LAYERS), token_id).save_pretrained(folder)
            tokenizer.save_pretrained(folder)
            (folder / STATE).mkdir()
            facts = {"repo": None, "run": run.id, "step": step, "max_steps": 20, "corpus": "ready", "eval_loss": 2.5}
            write_json(folder / "provenance.json", facts)

        checkpoints.save(run, step, write, keep=2)
        for number in range(4):
            row = {"step": step + number, "prompt_name": "Plot", "prompt": "#", "text": f"step {step + number}"}
            append_line(run.samples, row)
    Publisher(Settings(home=home.path)).publish_once()
    page = Page(home.path)
    page.start()
    yield page
    page.kill()


def begin(tab: Tab, tokens: int, *, by_key: bool = False) -> None:
    """Complete the prompt with both revisions, four samples each, and wait for the first text."""
    show(tab, "Generate")
    tab.locator("#other input").click()
    tab.get_by_role("option", name=re.compile("step 10 ")).click()
    tab.get_by_label("number input for New tokens").fill(str(tokens))
    tab.get_by_label("number input for Samples").fill("4")
    field(tab, "prompt").fill("x = 1")
    field(tab, "prompt").press("Control+Enter") if by_key else tab.locator("#complete").click()
    expect(tab.locator("#completion pre.new").first).to_contain_text("import")


def test_stop_can_be_pressed_while_text_is_streamed(writing_page: Page, open_tab: OpenTab) -> None:
    tab = open_tab(writing_page.url)
    begin(tab, 512)
    expect(tab.locator("#completion .pill")).to_have_text(re.compile("Writing"))
    assert tab.locator("#completion [class^=syn]").count() == 0
    tab.locator("#stop-writing").click()
    expect(tab.locator("#completion .pill")).to_have_text(re.compile("Stopped"))
    expect(tab.locator("#complete")).to_be_visible()
    expect(tab.locator("#completion .answer")).to_have_count(1)  # the second revision was not started
    assert tab.locator("#completion pre.new .syn-keyword").count() > 0


def test_ctrl_enter_completes_and_escape_stops(writing_page: Page, open_tab: OpenTab) -> None:
    tab = open_tab(writing_page.url)
    begin(tab, 512, by_key=True)
    assert field(tab, "prompt").input_value() == "x = 1"
    tab.keyboard.press("Escape")
    expect(tab.locator("#completion .pill")).to_have_text(re.compile("Stopped"))


def test_the_text_of_all_samples_of_both_revisions_is_whole_at_the_end(writing_page: Page, open_tab: OpenTab) -> None:
    tab = open_tab(writing_page.url)
    begin(tab, 32)
    expect(tab.locator("#completion .pill")).to_have_text(re.compile("Finished"))
    assert tab.locator("#completion .pill").count() == 1
    assert tab.locator("#completion .answer").count() == 2
    assert [text.split() for text in tab.locator("#completion pre.new").all_inner_texts()] == [["import"] * 32] * 8


@pytest.mark.parametrize("width", [1280, 390])
def test_the_newest_card_of_the_prompt_through_time_is_in_view(
    writing_page: Page, open_tab: OpenTab, width: int
) -> None:
    tab = open_tab(writing_page.url, viewport={"width": width, "height": 800})
    show(tab, "Train")
    expect(tab.locator("#story .timeline li")).to_have_count(8)
    strip, newest = tab.locator("#story .timeline").bounding_box(), tab.locator("#story li.now").bounding_box()
    assert strip is not None and newest is not None
    assert strip["x"] <= newest["x"] and newest["x"] + newest["width"] <= strip["x"] + strip["width"]
    assert "step 23" in tab.locator("#story li.now").inner_text()
    assert tab.evaluate(
        "document.querySelector('.timeline').scrollWidth > document.querySelector('.timeline').clientWidth"
    )
