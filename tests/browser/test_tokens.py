"""Token by token: probabilities, alternatives and the inside of the model, by mouse, finger and keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page as Tab
from playwright.sync_api import expect

from pipeline.core.settings import Settings
from tests.browser.conftest import field, show
from tests.browser.test_axe import LOOKS, THEMES, violations
from tests.browser.test_look import ON_PHONE
from tests.generation.models import push, tiny_model
from tests.page import Page

pytestmark = [pytest.mark.slow, pytest.mark.browser]

OpenTab = Callable[..., Tab]
WINDOW = 16


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A page with three revisions of one run, of which the second is the best."""
    settings = Settings(home=tmp_path_factory.mktemp("tokens") / "home")
    for step, loss in ((10, 6.0), (20, 5.0), (30, 5.5)):
        model = tiny_model(seed=step, n_positions=256)
        push(settings, step, model, eval_loss=loss, window=WINDOW, tokens=100 * step, parameters=10**6)
    page = Page(settings.home)
    page.start()
    yield page
    page.kill()


def complete(tab: Tab, *, other: str = "") -> None:
    """Complete a prompt, and show it token by token."""
    show(tab, "Generate")
    field(tab, "prompt").fill("import pandas as pd\n# plot\n")
    if other:
        tab.locator("#other input").click()
        tab.locator("[role=option]", has_text=other).click()
    field(tab, "completion-length").fill("40")
    field(tab, "completion-length").press("Enter")
    tab.locator("#complete").click()
    expect(tab.locator("#completion .pill.finished")).to_be_visible()
    tab.locator("#tokens [data-read]").click()
    expect(tab.locator(".tok").first).to_be_visible()


def test_a_press_looks_inside_and_an_alternative_is_gone_on_with(page: Page, open_tab: OpenTab) -> None:
    tab = open_tab(page.url)
    complete(tab)
    token = tab.locator(".tok:not(.given)").nth(3)
    token.hover()
    tip = tab.locator(".token-tip")
    expect(tip.locator(".token-guesses button")).to_have_count(5)
    token.click()
    expect(tab.locator("#inside")).to_contain_text("Inside: why")
    expect(tab.locator("#inside details")).to_have_count(2)
    before = tab.evaluate(
        "[...document.querySelectorAll('.tok')].slice(0, [...document.querySelectorAll('.tok')]"
        ".findIndex((t) => t.matches('.here'))).map((t) => t.dataset.text ?? t.textContent).join('')"
    )
    guess = tip.locator(".token-guesses button").nth(2)
    text = guess.get_attribute("data-text")
    guess.click()
    expect(field(tab, "prompt")).to_have_value(f"{before}{text}")
    expect(tab.locator("#tokens .tok")).to_have_count(0)
    expect(tab.locator("#completion .pill.finished")).to_be_visible()
    assert before.startswith("import pandas as pd\n# plot\n"), "newlines are those of the text"


def test_the_keys_choose_a_token_and_escape_closes(page: Page, open_tab: OpenTab) -> None:
    tab = open_tab(page.url)
    complete(tab)
    tab.locator(".token-text").focus()
    for _ in range(3):
        tab.keyboard.press("ArrowRight")
    tab.keyboard.press("ArrowLeft")
    expect(tab.locator(".tok.here")).to_have_text(tab.locator(".tok").nth(1).inner_text())
    expect(tab.locator(".token-box [aria-live]")).to_contain_text("%")
    tab.keyboard.press("Enter")
    expect(tab.locator("#inside")).to_contain_text("Inside: why")
    tab.keyboard.press("Escape")
    expect(tab.locator(".token-tip")).to_be_hidden()


def test_two_revisions_are_compared_and_the_slider_takes_another_step(page: Page, open_tab: OpenTab) -> None:
    tab = open_tab(page.url)
    complete(tab, other="step 10 ")
    figures = tab.locator(".token-bar")
    expect(figures).to_contain_text("step 30")
    expect(figures).to_contain_text("step 10")
    assert tab.locator(".line-loss").count() > 1
    slider = tab.locator(".token-steps input")
    expect(slider).to_have_value("2")
    slider.focus()
    slider.press("ArrowLeft")
    expect(tab.locator(".token-steps output")).to_have_text("20")
    expect(figures).to_contain_text("step 20")
    expect(figures).not_to_contain_text("step 30")


def test_what_is_past_the_trained_window_is_grey_with_the_reason(page: Page, open_tab: OpenTab) -> None:
    tab = open_tab(page.url)
    complete(tab)
    assert tab.locator(".tok").nth(WINDOW).evaluate("(e) => e.matches('.past')")
    assert not tab.locator(".tok").nth(WINDOW - 1).evaluate("(e) => e.matches('.past')")
    expect(tab.locator("#tokens")).to_contain_text(f"after token {WINDOW}, where the windows")


def test_the_better_revision_is_taken_by_one_press(page: Page, open_tab: OpenTab) -> None:
    tab = open_tab(page.url)
    show(tab, "Generate")
    advice = tab.locator("#revision-advice")
    expect(advice).to_contain_text("It has read 3.0 k tokens, fewer than its 1.0 M weights")
    expect(advice).to_contain_text(
        "Step 20 of small-otter predicts the validation files better: loss 5.000, this one 5.500"
    )
    advice.locator("[data-take]").click()
    expect(tab.locator("#revision input")).to_have_value("best: step 20 of small-otter, loss 5.000")
    expect(advice).not_to_contain_text("better")


def test_one_prompt_is_followed_over_the_steps_of_the_run(page: Page, open_tab: OpenTab) -> None:
    tab = open_tab(page.url)
    show(tab, "Generate")
    tab.locator("#complete").click()
    expect(tab.locator("#completion .pill.finished")).to_be_visible()
    growth = tab.locator("#growth")
    expect(growth).to_contain_text("at 3 steps of the run")
    growth.locator("[data-grow=show]").click()
    expect(growth.locator("button", has_text="Write again")).to_be_visible()
    shown = growth.locator("section[data-step]:visible")
    expect(shown).to_contain_text("step 10")
    growth.locator("input[type=range]").press("ArrowRight")
    expect(shown).to_contain_text("step 20")
    expect(growth.locator(".tip-step")).to_contain_text("20")
    slider = growth.locator("input[type=range]")
    slider.evaluate("(e) => { const card = e.closest('.growth').parentElement; card.innerHTML = card.innerHTML; }")
    expect(slider).to_have_value("1")  # as when another step arrives meanwhile
    expect(slider).to_be_focused()
    expect(growth.locator("section[data-step='20']")).to_be_visible()
    newest = tab.locator("#completion .new").inner_text().strip()
    expect(growth.locator("section", has_text="Last step")).to_contain_text(newest.splitlines()[0])
    expect(growth).to_contain_text("plt.scatter(x, y)")


def test_stop_ends_a_growth_and_another_completion_clears_it(page: Page, open_tab: OpenTab) -> None:
    tab = open_tab(page.url)
    show(tab, "Generate")
    tab.locator("#complete").click()
    expect(tab.locator("#completion .pill.finished")).to_be_visible()
    growth = tab.locator("#growth")
    # Held up, the answer to the first press is still awaited when Stop is pressed.
    growth.evaluate("(e) => { e.querySelector('[data-grow=show]').click(); }")
    stop = growth.locator("[data-grow=stop]")
    again = growth.locator("button", has_text="Write again")
    expect(stop.or_(again)).to_be_visible()
    if stop.is_visible():
        stop.evaluate("(e) => e.click()")
    expect(again).to_be_visible()
    tab.locator("#complete").click()
    expect(growth.locator("section")).to_have_count(0)
    expect(growth.locator("[data-grow=show]")).to_have_text("Write")


@LOOKS
@THEMES
def test_axe_finds_nothing_and_nothing_is_wider_than_the_screen(
    page: Page, open_tab: OpenTab, look: dict[str, object], theme: str
) -> None:
    tab = open_tab(f"{page.url}/?__theme={theme}", **look)
    if look is ON_PHONE:
        show(tab, "Generate")
        tab.get_by_role("button", name="Model and sampling").click()
    complete(tab, other="step 10 ")
    tab.locator(".tok").nth(8).click()
    expect(tab.locator("#inside")).to_contain_text("Inside: why")
    tab.locator("#growth [data-grow=show]").click()
    expect(tab.locator("#growth button", has_text="Write again")).to_be_visible()
    assert violations(tab) == []
    assert tab.evaluate("document.documentElement.scrollWidth") <= tab.evaluate("innerWidth")
