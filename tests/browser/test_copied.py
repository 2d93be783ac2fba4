"""Where from: what of a completion stands in the training files, with a real corpus."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page as Tab
from playwright.sync_api import expect

from pipeline.config.schema import DataConfig
from pipeline.core.paths import Home
from pipeline.core.settings import Settings
from tests.browser.conftest import show
from tests.browser.test_axe import LOOKS, THEMES, violations
from tests.data.conftest import prepare_here
from tests.data.examples import json_lines, row
from tests.generation.models import insist_on, push, tiny_model, tiny_tokenizer
from tests.page import Page

pytestmark = [pytest.mark.slow, pytest.mark.browser]

OpenTab = Callable[..., Tab]
PROMPT = "import pandas as pd\n# <b>"
WRITTEN = "z"
"""What the model writes, again and again."""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A page with a corpus and a revision of it, which writes what stands in the files."""
    folder = tmp_path_factory.mktemp("copied")
    home = folder / "home"
    tiny_tokenizer().save_pretrained(folder / "tokenizer")
    rows = [row(number, content=f"{PROMPT}{WRITTEN * 50}\nx = {number}\n") for number in range(20)]
    (folder / "files.jsonl").write_bytes(json_lines(rows))
    config = DataConfig(source=f"files:{folder}/files.jsonl", keywords=("pandas",), tokenizer=str(folder / "tokenizer"))
    assert prepare_here(Home(home).corpus("code"), config)
    token_id = tiny_tokenizer().convert_tokens_to_ids(WRITTEN)
    push(Settings(home=home), 10, insist_on(tiny_model(), token_id), corpus="code")
    page = Page(home)
    page.start()
    yield page
    page.kill()


def complete(tab: Tab) -> None:
    show(tab, "Generate")
    tab.locator("#prompt textarea").fill(PROMPT)
    tab.locator("#complete").click()
    expect(tab.locator("#completion .pill.finished")).to_be_visible()


def test_it_is_looked_up_by_keyboard_and_told_with_its_corpus(page: Page, open_tab: OpenTab) -> None:
    tab = open_tab(page.url)
    complete(tab)
    tab.locator("#copied button").focus()
    tab.keyboard.press("Enter")
    text = tab.locator(".copied-text")
    expect(text.locator("mark.given")).to_have_text(PROMPT)
    expect(text.locator("mark:not(.given)")).to_contain_text(WRITTEN * 40)
    expect(tab.locator("#copied")).to_contain_text("training files of corpus code")
    expect(tab.locator(".copied-sources")).to_contain_text("src/file")
    expect(tab.locator(".copied-sources")).to_contain_text("line 1 · MIT")
    tab.locator("#complete").click()
    expect(text).to_have_count(0)


@LOOKS
@THEMES
def test_axe_finds_nothing_and_nothing_is_wider_than_the_screen(
    page: Page, open_tab: OpenTab, look: dict[str, object], theme: str
) -> None:
    tab = open_tab(f"{page.url}/?__theme={theme}", **look)
    complete(tab)
    tab.locator("#copied button").click()
    expect(tab.locator(".copied-text mark").first).to_be_visible()
    assert violations(tab) == []
    assert tab.evaluate("document.documentElement.scrollWidth") <= tab.evaluate("innerWidth")
