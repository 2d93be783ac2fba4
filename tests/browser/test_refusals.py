"""Invalid input is answered by one sentence, escaped as text; a page that other machines reach requires its owner."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable

import pytest
from playwright.sync_api import Page as Tab
from playwright.sync_api import expect

from pipeline.config.schema import COURSE_KEYWORDS
from pipeline.core.paths import Home
from tests.browser.conftest import field, remove_keyword, show
from tests.homes import write_corpus
from tests.page import Page

pytestmark = [pytest.mark.slow, pytest.mark.browser]

OpenTab = Callable[..., Tab]
EVIL = "<img src=x onerror=document.title='hacked'>"


def test_a_missing_file_is_named_as_text(finished_page: Page, open_tab: OpenTab) -> None:
    tab = open_tab(finished_page.url)
    tab.get_by_test_id("Files-radio-label").click()
    tab.get_by_label("File, glob or folder").fill(sys.prefix)  # large: the scan still runs when the next one starts
    tab.locator("#scan").click()
    expect(tab.locator("#scan-progress")).to_contain_text(re.compile("[1-9].* of at most 20,000 files"))
    tab.get_by_label("File, glob or folder").fill(f"/nowhere/{EVIL}")
    tab.locator("#scan").click()
    expect(tab.locator("#scan-progress .notice")).to_contain_text(EVIL)
    tab.wait_for_timeout(1_500)  # time for late updates of the older scan
    expect(tab.locator("#scan-progress .notice")).to_contain_text(EVIL)
    assert "hacked" not in tab.title()


def test_no_keyword_is_refused(finished_page: Page, open_tab: OpenTab) -> None:
    tab = open_tab(finished_page.url)
    for keyword in COURSE_KEYWORDS:
        remove_keyword(tab, keyword)
    tab.locator("#scan").click()
    expect(tab.locator("#scan-progress .notice")).to_contain_text("give at least one")


def test_an_invalid_number_is_refused_before_anything_starts(finished_page: Page, open_tab: OpenTab) -> None:
    tab = open_tab(finished_page.url)
    show(tab, "Train")
    expect(tab.locator("#plan")).to_contain_text("Parameters")
    field(tab, "max-steps").fill("minus <b>two</b>")
    expect(tab.locator("#plan .notice")).to_contain_text("“Steps” is “minus <b>two</b>”; give a whole number.")
    tab.locator("#start").click()
    expect(tab.locator("#train-answer .notice")).to_contain_text("give a whole number")
    assert len(Home(finished_page.home).runs()) == 2


def test_before_a_completion_there_is_nothing_to_keep(start_page: Callable[..., Page], open_tab: OpenTab) -> None:
    tab = open_tab(start_page().url)
    show(tab, "Generate")
    tab.locator("#keep").click()
    expect(tab.locator("#permalink .notice")).to_contain_text("press Complete first")


def test_an_unknown_example_says_so(finished_page: Page, open_tab: OpenTab) -> None:
    tab = open_tab(f"{finished_page.url}/?example={EVIL}")
    expect(tab.locator("#completion .notice")).to_contain_text("There is no example")
    assert "hacked" not in tab.title()


def test_a_page_that_other_machines_reach_requires_its_owner(
    start_page: Callable[..., Page], open_tab: OpenTab
) -> None:
    page = start_page(GRADIO_SERVER_NAME="0.0.0.0", PIPELINE_OWNER_KEY="open sesame open sesame")
    write_corpus(Home(page.home), "ready")
    tab = open_tab(page.url)
    expect(tab.locator("#who")).to_have_text("visitor")
    expect(tab.locator("#sample .code li").first).to_be_visible()  # everybody may scan installed code
    show(tab, "Train")
    field(tab, "max-steps").fill("0")
    expect(tab.locator("#start")).to_be_hidden()
    expect(tab.locator("#setup .block.visitors")).to_contain_text("Training is for the owner of this page")
    expect(tab.locator("#log")).to_contain_text("The log is for the owner")
    field(tab, "owner-key").fill("open barley")
    tab.locator("#unlock").click()
    expect(tab.locator("#access .notice")).to_contain_text("not the owner's key")
    field(tab, "owner-key").fill("open sesame open sesame")
    tab.locator("#unlock").click()
    expect(tab.locator("#owner-key")).to_be_hidden()
    expect(tab.locator("#setup .block.visitors")).to_be_hidden()
    # 4 s: before the next tick of an idle page.
    expect(tab.locator("#log")).not_to_contain_text("The log is for the owner", timeout=4_000)
    tab.locator("#start").click()  # passes the access check now; max_steps is refused
    expect(tab.locator("#train-answer .notice")).to_contain_text("“Steps” is 0")
    other = open_tab(page.url)
    show(other, "Train")
    expect(other.locator("#owner-key")).to_be_visible()  # only one browser was unlocked


def test_a_page_that_other_machines_reach_without_a_key_is_closed(
    start_page: Callable[..., Page], open_tab: OpenTab
) -> None:
    tab = open_tab(start_page(GRADIO_SERVER_NAME="0.0.0.0").url)
    show(tab, "Train")
    expect(tab.locator("#access .notice")).to_contain_text("started without an owner's key")
    expect(tab.locator("#owner-key")).to_be_hidden()
    for owners in ("#start", "#prepare", "#inspect"):
        expect(tab.locator(owners)).to_be_hidden()
