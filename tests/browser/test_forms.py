"""Forms: messages at their fields in the page's words, keywords, names that follow the source; and what the page is like
before its first content, in another language, and by keyboard.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page as Tab
from playwright.sync_api import expect

from pipeline.core.paths import Home
from tests.browser.conftest import DESK, add_keyword, field, scan_folder, show
from tests.browser.test_look import ON_PHONE, TABS
from tests.page import Page

pytestmark = [pytest.mark.slow, pytest.mark.browser]

OpenTab = Callable[..., Tab]
LOOKS = pytest.mark.parametrize("look", [{"viewport": DESK}, ON_PHONE], ids=["desk", "phone"])


def error_at(tab: Tab, elem_id: str, text: str) -> None:
    """Expect a message at a field, tied to it for screen readers."""
    message = tab.locator(f"#{elem_id} .field-error")
    expect(message).to_contain_text(text)
    expect(message).to_be_visible()
    expect(field(tab, elem_id)).to_have_attribute("aria-invalid", "true")
    expect(field(tab, elem_id)).to_have_attribute("aria-describedby", f"{elem_id}-error")


# ---- messages at their fields ----


def test_an_edit_counts_also_while_the_message_is_not_drawn(finished_page: Page, open_tab: OpenTab) -> None:
    """Gradio may just have drawn the field anew."""
    tab = open_tab(finished_page.url)
    show(tab, "Train")
    expect(tab.locator("#plan")).to_contain_text("Parameters")
    field(tab, "max-steps").fill("0")
    tab.locator("#start").click()
    error_at(tab, "max-steps", "“Steps” is 0; set it to 1 or more.")
    expect(tab.locator("#train-answer .notice")).to_have_count(1)
    tab.evaluate(
        "() => { document.querySelector('#max-steps .field-error').remove();"
        " const input = document.querySelector('#max-steps input, #max-steps textarea'); input.value = '100';"
        " input.dispatchEvent(new Event('input', { bubbles: true })); }"
    )
    expect(field(tab, "max-steps")).not_to_have_attribute("aria-invalid", "true")
    expect(tab.locator(".field-error")).to_have_count(0)


def test_a_message_stands_at_its_field_until_the_field_is_edited(finished_page: Page, open_tab: OpenTab) -> None:
    tab = open_tab(finished_page.url)
    show(tab, "Train")
    expect(tab.locator("#plan")).to_contain_text("Parameters")
    for _ in range(2):  # the same answer twice is shown twice
        field(tab, "max-steps").fill("0")
        tab.locator("#start").click()
        error_at(tab, "max-steps", "“Steps” is 0; set it to 1 or more.")
        expect(tab.locator("#train-answer .notice")).to_have_text("“Steps” is 0; set it to 1 or more.")
        expect(field(tab, "max-steps")).to_be_focused()
        field(tab, "max-steps").fill("100")
        expect(tab.locator(".field-error")).to_have_count(0)
        expect(field(tab, "max-steps")).not_to_have_attribute("aria-invalid", "true")
    field(tab, "max-steps").fill("100")
    tab.locator("#advanced").get_by_text("Advanced").click()
    field(tab, "warmup-steps").fill("200")
    error_at(tab, "warmup-steps", "“Warm-up steps” is 200; set 0 to “Steps” (100).")
    expect(field(tab, "warmup-steps")).to_be_focused()
    assert len(Home(finished_page.home).runs()) == 2


def test_the_form_of_a_corpus_names_its_fields(finished_page: Page, open_tab: OpenTab) -> None:
    tab = open_tab(finished_page.url)
    field(tab, "corpus-name").fill("Not an id")
    tab.locator("#prepare").click()
    error_at(tab, "corpus-name", "“Name of the corpus” is “Not an id”; use 1 to 64 lower-case letters")
    expect(tab.locator("#prepare-answer .notice")).to_have_class(re.compile("at-field"))  # in the same card
    field(tab, "corpus-name").fill("fine")
    tab.locator("#prepare-card").get_by_text("Advanced").click()
    field(tab, "window").fill("3")
    error_at(tab, "window", "“Window to drop by, in tokens” is 3; set 8 to 8192 tokens.")
    tab.locator("#prepare-card").get_by_text("Advanced").click()  # closed: the message moves to the button
    tab.locator("#prepare").click()
    expect(tab.locator("#prepare-answer .notice")).not_to_have_class(re.compile("at-field"))


def test_a_source_that_is_not_named_is_refused_at_its_field(finished_page: Page, open_tab: OpenTab) -> None:
    tab = open_tab(finished_page.url)
    expect(tab.locator("#scan-progress")).to_contain_text("Scan finished")
    tab.get_by_test_id("Files-radio-label").click()
    expect(tab.locator("#corpus-plan")).to_contain_text("once the source above is named")
    expect(tab.locator(".field-error")).to_have_count(0)  # nobody has typed yet
    tab.locator("#scan").click()
    error_at(tab, "source-path", "“File, glob or folder” is empty; write the path of a file or folder")
    expect(field(tab, "source-path")).to_be_focused()
    field(tab, "source-path").fill("/nowhere/at/all")
    tab.locator("#scan").click()
    error_at(tab, "source-path", "There is no file or folder '/nowhere/at/all'")
    tab.get_by_test_id("Hub-radio-label").click()
    field(tab, "source-repo").fill("no repo")
    field(tab, "source-repo").press("Enter")
    error_at(tab, "source-repo", "“Dataset on the Hub” is “no repo”; write owner/name")
    for said in tab.locator(".notice, .field-error").all_inner_texts():
        assert not re.search(r"hub:|files:'|source is|Errno", said), said


def test_a_prompt_that_is_empty_is_refused_at_its_field(finished_page: Page, open_tab: OpenTab) -> None:
    tab = open_tab(finished_page.url)
    show(tab, "Generate")
    field(tab, "prompt").fill(" ")
    tab.locator("#complete").click()
    error_at(tab, "prompt", "The prompt is empty")


# ---- the source, its keywords and its name ----


def test_enter_in_the_path_scans_and_cancel_is_active_only_meanwhile(
    finished_page: Page, open_tab: OpenTab, known_code: Path
) -> None:
    """Also where updates arrive before the answer to the request: the browser then takes all of them at once."""
    for number in range(3_000):  # fewer are read at once
        (known_code / f"{number}.py").write_text(f"import pandas as pd\n# {number}\n")
    tab = open_tab(finished_page.url)
    expect(tab.locator("#scan-progress")).to_contain_text("Scan finished")
    expect(tab.locator("#cancel-scan")).to_be_disabled()
    tab.evaluate(
        """() => { window.wasActive = false; new MutationObserver(() => {
          window.wasActive ||= !document.querySelector('#cancel-scan').disabled;
        }).observe(document.querySelector('#cancel-scan').parentElement, { attributes: true, subtree: true });
        const real = window.fetch;
        window.fetch = async (...args) => {
          const answer = await real(...args);
          if ((args[0].url ?? String(args[0])).includes('/queue/join')) await new Promise((done) => setTimeout(done, 1000));
          return answer;
        }; }"""
    )
    tab.get_by_test_id("Files-radio-label").click()
    field(tab, "source-path").fill(str(known_code))
    field(tab, "source-path").press("Enter")
    expect(tab.locator("#largest")).to_contain_text(known_code.name)
    expect(tab.locator("#cancel-scan")).to_be_disabled()
    assert tab.evaluate("window.wasActive")


def test_the_name_of_a_corpus_follows_the_source_until_it_is_edited(
    finished_page: Page, open_tab: OpenTab, known_code: Path
) -> None:
    tab = open_tab(finished_page.url)
    name = field(tab, "corpus-name")
    expect(name).to_have_value("installed")
    scan_folder(tab, known_code)
    expect(name).to_have_value("known-code")
    tab.get_by_test_id("Hub-radio-label").click()
    expect(name).to_have_value("codeparrot-ds-train")
    name.fill("mine")
    tab.get_by_test_id("Installed-radio-label").click()
    expect(tab.get_by_label("Dataset on the Hub")).to_be_hidden()
    tab.wait_for_timeout(1_000)  # time for an answer that must not come
    expect(name).to_have_value("mine")


def test_pasted_blank_and_duplicate_keywords(finished_page: Page, open_tab: OpenTab, known_code: Path) -> None:
    tab = open_tab(finished_page.url)
    scan_folder(tab, known_code)
    tab.evaluate(
        """() => { const data = new DataTransfer(); data.setData('text', 'DataFrame, np\\nimport numpy,, pandas\\n');
          document.querySelector('#keywords input').dispatchEvent(
            new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true })); }"""
    )
    chips = tab.locator("#keywords .token")
    wanted = ["pandas", "sklearn", "matplotlib", "seaborn", "DataFrame", "np", "import numpy"]
    expect(chips).to_have_text([re.compile(rf"^\s*{word}\s*$") for word in wanted])
    expect(tab.locator('#hits tr[data-keyword="import numpy"] td').nth(1)).to_have_text("20")
    add_keyword(tab, "   ")
    add_keyword(tab, "pandas")
    add_keyword(tab, " os ")
    expect(chips).to_have_text([re.compile(rf"^\s*{word}\s*$") for word in [*wanted, "os"]])


def test_a_keyword_typed_before_the_server_has_answered_stays(finished_page: Page, open_tab: OpenTab) -> None:
    tab = open_tab(finished_page.url)
    expect(tab.locator("#scan-progress")).to_contain_text("Scan finished")
    tab.evaluate(  # a slow server
        """() => { const real = window.fetch; window.fetch = async (...args) => {
          const answer = await real(...args);
          if (String(args[0]).includes('/run/')) await new Promise((done) => setTimeout(done, 1500));
          return answer;
        }; }"""
    )
    for word in ("np,os", "pandas", "re"):
        add_keyword(tab, word)
    wanted = ["pandas", "sklearn", "matplotlib", "seaborn", "np", "os", "re"]
    expect(tab.locator("#hits tr[data-keyword]")).to_have_count(len(wanted))
    expect(tab.locator("#keywords .token")).to_have_text([re.compile(rf"^\s*{word}\s*$") for word in wanted])


# ---- keyboard and touch ----


def test_arrow_keys_move_in_tabs_and_segments(finished_page: Page, open_tab: OpenTab) -> None:
    tab = open_tab(finished_page.url)
    expect(tab.locator("#scan-progress")).to_contain_text("Scan finished")
    tab.locator("#match input").first.focus()
    tab.keyboard.press("ArrowRight")
    expect(tab.locator("#match label.selected")).to_have_text("Whole name")
    expect(tab.locator("#match input").nth(1)).to_be_focused()
    expect(tab.locator("#hits")).to_contain_text("as a whole name")
    tab.keyboard.press("ArrowLeft")
    expect(tab.locator("#match label.selected")).to_have_text("Contains")
    show(tab, "Data")
    for key, selected in (("ArrowRight", "Train"), ("ArrowLeft", "Data"), ("ArrowLeft", "Gallery"), ("Home", "Data")):
        tab.keyboard.press(key)
        expect(tab.locator("#tabs > .tab-wrapper [role=tab].selected").first).to_have_text(selected)
        assert tab.evaluate("document.activeElement.innerText") == selected


@LOOKS
def test_no_focus_ring_is_clipped(finished_page: Page, open_tab: OpenTab, look: Any) -> None:
    tab = open_tab(finished_page.url, **look)
    expect(tab.locator("#scan-progress")).to_contain_text("Scan finished")
    for name in TABS:
        show(tab, name)
        for folded in (".fold:not(.unfolded) .fold-toggle", ".label-wrap:not(.open)", ".label-wrap:not(.open)"):
            tab.evaluate(
                "(folded) => document.querySelectorAll(folded).forEach((e) => e.offsetParent && e.click())", folded
            )
            tab.wait_for_timeout(300)
        show(tab, name)
        for _ in range(150):
            tab.keyboard.press("Tab")
            assert tab.evaluate(CLIPPED) == "", name
            if tab.evaluate("document.activeElement === document.body"):
                break
    show(tab, "Train")
    tab.add_style_tag(content="#max-steps.block { overflow: hidden !important; }")
    field(tab, "max-steps").focus()
    assert "max-steps" in tab.evaluate(CLIPPED), "control"


CLIPPED = """() => {
  const focused = document.activeElement;
  for (const e of [focused, focused.closest('.secondary-wrap') && focused.closest('.container > .wrap')].filter(Boolean)) {
    const style = getComputedStyle(e);
    if (style.outlineStyle === 'none') continue;
    const out = parseFloat(style.outlineWidth) + parseFloat(style.outlineOffset);
    const box = e.getBoundingClientRect();
    for (let up = e.parentElement; up && up !== document.body; up = up.parentElement) {
      const { overflowX, overflowY } = getComputedStyle(up);
      if (['auto', 'scroll'].includes(overflowX)) break;
      const around = up.getBoundingClientRect();
      const isCut = (overflowX !== 'visible' && (box.left - out < around.left || box.right + out > around.right))
        || (overflowY !== 'visible' && (box.top - out < around.top || box.bottom + out > around.bottom));
      if (isCut) return `${focused.outerHTML.slice(0, 120)} in ${up.id} ${up.className}`;
    }
  }
  return '';
}"""


def test_a_tap_on_a_folded_cards_first_line_opens_it(finished_page: Page, open_tab: OpenTab) -> None:
    tab = open_tab(finished_page.url, **ON_PHONE)
    show(tab, "Train")
    expect(tab.locator(".pick-loss svg")).to_be_visible()
    head, toggle = tab.locator("#setup .card-head h3"), tab.locator("#setup .fold-toggle")
    for expanded in ("true", "false"):
        head.tap()
        expect(toggle).to_have_attribute("aria-expanded", expanded)
        expect(field(tab, "max-steps")).to_be_visible(visible=expanded == "true")
    toggle.tap()  # once, not twice
    expect(field(tab, "max-steps")).to_be_visible()


# ---- before the first content ----


def test_the_page_is_english_whatever_the_browsers_language(finished_page: Page, open_tab: OpenTab) -> None:
    tab = open_tab(finished_page.url, locale="ru-RU")
    expect(tab.locator("#scan-progress")).to_contain_text("Scan finished")
    assert tab.evaluate("document.documentElement.lang") == "en"
    names = tab.evaluate(
        "[...document.querySelectorAll('[aria-label]')].map((e) => e.getAttribute('aria-label')).join()"
    )
    assert not re.search("[а-яА-Я]", names + tab.locator("body").inner_text()), names


@LOOKS
def test_no_empty_card_is_shown_before_the_first_answers(finished_page: Page, open_tab: OpenTab, look: Any) -> None:
    tab = open_tab(f"{finished_page.url}", **look)
    tab.route(re.compile("/gradio_api/(queue/join|run)"), lambda route: None)  # never answered
    tab.reload()
    tab.wait_for_selector("#scan", state="attached")
    for name in TABS:
        show(tab, name)
        assert tab.evaluate(EMPTY) == [], name
    show(tab, "Data")
    tab.evaluate(
        "document.querySelector('.data-split .main').append(Object.assign(document.createElement('p'), { className: 'card' }))"
    )
    assert tab.evaluate(EMPTY) != [], "control"


EMPTY = """() => [...document.querySelectorAll('.card')].filter((card) => card.getClientRects().length
  && !card.querySelector('input, textarea, button') && !card.innerText.trim()).map((card) => card.outerHTML.slice(0, 200))"""
