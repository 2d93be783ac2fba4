"""Links to searches, runs, revisions, prompts and examples, each opened in a fresh browser after a restart; remixes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from playwright.sync_api import Locator, expect
from playwright.sync_api import Page as Tab

from pipeline.artifacts.revision import Registry
from pipeline.config.prompts import course_prompts
from pipeline.core.paths import Home
from pipeline.core.settings import Settings
from pipeline.gallery.examples import Examples
from pipeline.hub.publisher import Publisher
from tests.browser.conftest import field, show
from tests.browser.test_gallery import open_gallery, press
from tests.browser.test_look import ON_PHONE, outside
from tests.checkpoints import write_checkpoint
from tests.gallery.test_examples import REVISION, keep
from tests.homes import write_corpus, write_run
from tests.page import Page

pytestmark = [pytest.mark.slow, pytest.mark.browser]

OpenTab = Callable[..., Tab]
MAY_COPY = {"permissions": ["clipboard-read", "clipboard-write"]}
HOSTILE = "<img src=x onerror=\"document.title='broken in'\"><b>{{7*7}}</b>"
OWNER_KEY = "a long key of the gallery owner"


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A page for visitors, with two runs, their revisions and 60 examples."""
    home = Home(tmp_path_factory.mktemp("shared") / "home")
    write_corpus(home, "ready")
    for run, age in (("calm-kea", 500), ("bold-kea", 900)):
        write_checkpoint(write_run(home, run, age_seconds=age), 20)
    Publisher(Settings(home=home.path)).publish_once()
    gallery = Examples(home.gallery)
    for number in range(60):
        run = replace(REVISION, run=f"run-{number % 2}")
        prompt = course_prompts()[number % 3].text
        keep(gallery, prompt=prompt, title=f"Number {number}", texts=[f"plt.scatter({number})\n"], revision=run)
    keep(gallery, prompt=f"# {HOSTILE}\n", title=HOSTILE[:80], texts=[HOSTILE], revision=replace(REVISION, run=HOSTILE))
    page = Page(home.path, GRADIO_SERVER_NAME="0.0.0.0", PIPELINE_OWNER_KEY=OWNER_KEY)
    page.start()
    yield page
    page.kill()


def restart(page: Page) -> None:
    page.kill()
    page.start()


def words(tab: Tab) -> Locator:
    return tab.get_by_role("searchbox", name="Search")


def titles(tab: Tab) -> Locator:
    return tab.locator("#gallery article h3")


def address(tab: Tab) -> dict[str, list[str]]:
    return parse_qs(urlsplit(tab.url).query)


def copied(tab: Tab, button: Locator) -> str:
    button.click()
    expect(button).to_have_text("Copied")
    text: str = tab.evaluate("navigator.clipboard.readText()")
    return text


@pytest.mark.parametrize("look", [{}, ON_PHONE], ids=["desk", "phone"])
def test_a_search_by_keyboard_is_a_link_that_outlives_a_restart(
    public: Page, open_tab: OpenTab, look: dict[str, Any]
) -> None:
    tab = open_gallery(open_tab, public.url, **look, **MAY_COPY)
    expect(titles(tab)).to_have_count(24)
    words(tab).focus()
    tab.keyboard.type("SCATTER number")
    expect(tab.locator(".shelf-head")).to_contain_text("60 examples found")
    expect(words(tab)).to_be_focused()
    expect(words(tab)).to_have_value("SCATTER number")
    tab.keyboard.press("Tab")
    expect(tab.get_by_role("combobox", name="Run")).to_be_focused()
    tab.keyboard.type("run-1")
    expect(tab.locator(".shelf-head")).to_contain_text("30 examples found")
    tab.get_by_role("button", name="Next").click()
    expect(titles(tab)).to_have_count(6)
    expect(titles(tab).first).to_have_text("Number 11")
    assert address(tab) == {"gallery": ["2"], "q": ["SCATTER number"], "of_run": ["run-1"]}
    link = copied(tab, tab.locator("#gallery .copy-link"))
    assert link == f"{public.url}/?gallery=2&q=SCATTER+number&of_run=run-1"
    assert outside(tab) == []

    restart(public)
    fresh = open_tab(link, **look)
    expect(titles(fresh)).to_have_count(6)
    expect(titles(fresh).first).to_have_text("Number 11")
    expect(words(fresh)).to_have_value("SCATTER number")
    expect(fresh.get_by_role("combobox", name="Run")).to_have_value("run-1")
    fresh.get_by_role("button", name="Show all").click()
    expect(titles(fresh)).to_have_count(24)
    expect(words(fresh)).to_have_value("")


def test_same_prompt_shows_those_and_any_prompt_all(public: Page, open_tab: OpenTab) -> None:
    tab = open_gallery(open_tab, f"{public.url}/?gallery=1&q=number+30")
    expect(titles(tab)).to_have_text(["Number 30"])
    tab.get_by_role("button", name="Same prompt").click()
    expect(tab.locator(".of-prompt")).to_contain_text(course_prompts()[0].text.strip().split("\n")[-1])
    words(tab).fill("")
    expect(tab.locator(".shelf-head")).to_contain_text("20 examples found")
    tab.get_by_role("button", name="Any prompt").click()
    expect(tab.locator(".shelf-head")).to_contain_text("61 examples")
    expect(words(tab)).to_be_focused()
    assert address(tab) == {}
    show(tab, "Data")
    assert "gallery" not in tab.url


def test_an_opened_example_is_named_and_back_returns_to_the_gallery(public: Page, open_tab: OpenTab) -> None:
    tab = open_gallery(open_tab, f"{public.url}/?gallery=1&q=number+30")
    expect(titles(tab)).to_have_text(["Number 30"])
    tab.get_by_role("button", name="Open").click()
    expect(tab.locator("#completion .example-title")).to_have_text("Number 30")
    expect(tab).to_have_url(re.compile(r"/\?example=\w+#2$"))
    tab.go_back()
    expect(titles(tab)).to_have_text(["Number 30"])
    assert address(tab) == {"gallery": ["1"], "q": ["number 30"]}
    tab.go_forward()
    expect(tab.locator("#completion .example-title")).to_have_text("Number 30")
    tab.reload()
    expect(tab.locator("#completion .example-title")).to_have_text("Number 30")
    show(tab, "Gallery")
    tab.get_by_role("button", name="Remix").first.click()
    expect(tab.locator("#completion [data-remixed]")).to_be_visible()
    expect(tab).to_have_url(f"{public.url}/#2")


def test_back_goes_through_the_tabs_before_it_leaves(public: Page, open_tab: OpenTab) -> None:
    tab = open_tab(public.url)
    for name in ("Train", "Generate", "Gallery"):
        show(tab, name)
    for place in (2, 1):
        tab.go_back()
        expect(tab).to_have_url(f"{public.url}/#{place}")
        expect(tab.get_by_role("tab", selected=True)).to_have_text(("Train", "Generate")[place - 1])
    tab.go_back()
    expect(tab).to_have_url(f"{public.url}/")
    expect(tab.get_by_role("tab", selected=True)).to_have_text("Data")


def test_an_own_prompt_outlives_a_reload_and_a_link_comes_first(public: Page, open_tab: OpenTab) -> None:
    tab = open_tab(f"{public.url}/#2")
    prompt = tab.get_by_role("textbox", name="Prompt")
    prompt.fill("import pandas as mine\n")
    tab.reload()
    expect(prompt).to_have_value("import pandas as mine\n")
    expect(tab.locator("#prompts [aria-pressed=true]")).to_have_count(0)
    tab.goto(f"{public.url}/?text=linked")
    expect(prompt).to_have_value("linked")


def test_what_is_not_there_is_told_and_hostile_words_stay_text(public: Page, open_tab: OpenTab) -> None:
    tab = open_tab(f"{public.url}/?gallery=1&q={quote(HOSTILE)}&of_run={quote(HOSTILE)}")
    expect(titles(tab)).to_have_text([HOSTILE[:80]])
    expect(words(tab)).to_have_value(HOSTILE)
    tab.get_by_role("button", name="Same prompt").click()
    expect(tab.locator(".of-prompt")).to_contain_text("<img src=x")
    words(tab).fill(f"nowhere {HOSTILE}")
    expect(tab.locator("#gallery")).to_contain_text("No example has all of this")
    tab.get_by_role("button", name="Show all").click()
    expect(titles(tab)).to_have_count(24)
    assert tab.title() != "broken in"
    assert tab.locator("#gallery img, #gallery b, #gallery-search img").count() == 0


def test_links_to_a_run_a_revision_and_a_prompt_outlive_a_restart(public: Page, open_tab: OpenTab) -> None:
    tab = open_tab(public.url, **MAY_COPY)
    show(tab, "Train")
    tab.locator("[data-run='bold-kea']").first.click()
    expect(tab.locator(".strip[data-run='bold-kea']")).to_be_visible()
    to_run = copied(tab, tab.locator("#strip .copy-link"))
    show(tab, "Generate")
    revision = next(r for r in Registry(Home(public.home), "local").revisions() if r.run == "bold-kea")
    field(tab, "revision").click()
    tab.get_by_role("option", name=re.compile(revision.revision)).first.click()
    expect(tab.locator("#revision-advice .copy-link")).to_have_attribute(
        "data-address", f"revision={revision.revision}"
    )
    to_revision = copied(tab, tab.locator("#revision-advice .copy-link"))
    last = course_prompts()[-1]
    tab.locator("#prompts button").last.click()
    expect(field(tab, "prompt")).to_have_value(last.text)
    expect(tab.locator("#prompts button").last).to_have_attribute("aria-pressed", "true")
    to_course_prompt = copied(tab, tab.locator("#prompt-link button"))
    own = f"# ünïcode & {HOSTILE}\nx = 1 + 1  # 100 %\n"
    field(tab, "prompt").fill(own)
    expect(tab.locator("#prompts [aria-pressed=true]")).to_have_count(0)
    tab.wait_for_timeout(3_100)  # the button says "Copy link" again
    to_text = copied(tab, tab.locator("#prompt-link button"))
    field(tab, "prompt").fill("x" * 2_001)
    tab.locator("#prompt-link button").click()
    expect(tab.locator("#prompt-link button")).to_have_text("Too long for a link")

    restart(public)
    assert to_run == f"{public.url}/?run=bold-kea"
    fresh = open_tab(to_run)
    expect(fresh.locator(".strip[data-run='bold-kea']")).to_be_visible()
    fresh = open_tab(to_revision)
    expect(field(fresh, "revision")).to_have_value(re.compile(revision.revision))
    expect(fresh.locator("#complete")).to_be_visible()
    fresh = open_tab(to_course_prompt)
    expect(field(fresh, "prompt")).to_have_value(last.text)
    fresh = open_tab(to_text)
    expect(field(fresh, "prompt")).to_have_value(own)
    expect(fresh.locator("#complete")).to_be_visible()
    expect(fresh.locator("#completion")).to_contain_text("Nothing written yet")
    assert fresh.title() != "broken in"


@pytest.mark.parametrize(
    ("query", "where", "told"),
    [
        ("run=nowhere", "#train-answer", "There is no run nowhere here"),
        ("revision=ffffffffffff", "#completion", "There is no revision ffffffffffff here"),
        ("prompt=nothing", "#completion", "The course has no prompt called nothing"),
        ("example=zzzzzzzz", "#completion", "There is no example"),
        (f"text={'x' * 2_001}", "#completion", "a link holds up to 2,000"),
        (f"gallery=1&q={'x' * 201}", "#gallery", "keep it to 200"),
    ],
)
def test_a_wrong_link_opens_its_tab_and_says_so(
    public: Page, open_tab: OpenTab, query: str, where: str, told: str
) -> None:
    expect(open_tab(f"{public.url}/?{query}").locator(f"{where} .notice")).to_contain_text(told)


@pytest.mark.parametrize("look", [{}, ON_PHONE], ids=["desk", "phone"])
def test_a_remix_stands_beside_its_origin_and_is_kept_with_it(
    start_page: Callable[..., Page], open_tab: OpenTab, look: dict[str, Any]
) -> None:
    page = start_page()  # the starter model answers
    gallery = Examples(Home(page.home).gallery)
    old = keep(gallery, prompt=course_prompts()[0].text, texts=["the_old_answer = 1\n"], title="Old")
    tab = open_gallery(open_tab, page.url, **look)
    press(tab, old, "Remix")
    before = tab.locator("#completion .before")
    expect(before).to_contain_text("the_old_answer")
    expect(before).to_contain_text("press Complete")
    if look:  # folded on a phone
        tab.get_by_role("button", name="Model and sampling").click()
    field(tab, "completion-seed").fill("7")
    tab.locator("#complete").click()
    expect(tab.locator("#completion .pill")).to_contain_text("Finished")
    expect(tab.locator("#completion .beside > div .new")).not_to_be_empty()
    expect(before).to_contain_text("the_old_answer")
    assert outside(tab) == []
    tab.locator("#keep").click()
    expect(tab.locator("#permalink")).to_contain_text("Kept as example")
    kept = gallery.page(1).examples[0]
    assert kept.remix_of == old.id
    show(tab, "Gallery")
    tab.get_by_role("button", name=f"Remix of {old.id}").click()
    expect(tab.locator("#completion .pill")).to_contain_text("Kept example")
    expect(tab.locator("#completion pre.new")).to_contain_text("the_old_answer")
    expect(before).to_have_count(0)

    show(tab, "Gallery")
    press(tab, old, "Remix")
    tab.get_by_role("button", name="Remove", exact=True).click()
    expect(before).to_have_count(0)
