"""Every tab fits the screen, in light and dark theme, on desktop and phone; folded cards open; choices persist."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page as Tab
from playwright.sync_api import Route, expect

from tests.browser.conftest import DESK, PHONE, field, show
from tests.page import Page

pytestmark = [pytest.mark.slow, pytest.mark.browser]

TABS = ("Data", "Train", "Generate", "Gallery")
ON_PHONE: dict[str, Any] = {"viewport": PHONE, "is_mobile": True, "has_touch": True}
OpenTab = Callable[..., Tab]


def frames_each_second(tab: Tab) -> list[int]:
    """How many frames the page asks for in each of five seconds, long after it was loaded anew."""
    tab.add_init_script(
        "{ const next = requestAnimationFrame; window.frames = 0;"
        " window.requestAnimationFrame = (call) => { window.frames += 1; return next(call); }; }"
    )
    tab.reload()
    expect(tab.locator("#scan-progress")).to_contain_text("Scan finished")
    tab.wait_for_timeout(3_000)
    counts = []
    for _ in range(5):
        before = tab.evaluate("frames")
        tab.wait_for_timeout(1_000)
        counts.append(tab.evaluate("frames") - before)
    return counts


def test_an_idle_page_draws_no_frames(finished_page: Page, open_tab: OpenTab) -> None:
    assert 0 in frames_each_second(open_tab(finished_page.url))


def test_control_gradios_loading_screen_counts_in_an_idle_page(finished_page: Page, open_tab: OpenTab) -> None:
    """When this fails, Gradio has mended it: NO_COUNTING in ui/server/page_cache.py can go."""
    tab = open_tab(finished_page.url)

    def let_it_count(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=answer.text().replace(r"performance\.now", "nothing"))

    # The script, changed, is no longer one that the page's policy lets run.
    tab.route(f"{finished_page.url}/", let_it_count)
    assert 0 not in frames_each_second(tab)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("look", [{"viewport": DESK}, ON_PHONE], ids=["desk", "phone"])
def test_nothing_is_wider_than_the_screen(finished_page: Page, open_tab: OpenTab, look: Any, theme: str) -> None:
    tab = open_tab(f"{finished_page.url}/?__theme={theme}", **look)
    expect(tab.locator("#scan-progress")).to_contain_text("Scan finished")
    for name in TABS:
        show(tab, name)
        tab.wait_for_timeout(500)
        width = tab.evaluate("document.documentElement.scrollWidth")
        assert width <= look["viewport"]["width"], name
        assert outside(tab) == [], name
    assert tab.evaluate("document.body.classList.contains('dark')") == (theme == "dark")


def test_a_run_on_a_phone_fits_two_screens(finished_page: Page, open_tab: OpenTab) -> None:
    tab = open_tab(finished_page.url, **ON_PHONE)
    show(tab, "Train")
    expect(tab.locator(".pick-loss svg")).to_be_visible()
    assert tab.evaluate("document.documentElement.scrollHeight") < 2 * PHONE["height"]
    expect(tab.locator(".pick-speed")).to_be_hidden()
    tab.locator(".picker button", has_text="Perplexity").click()
    expect(tab.locator(".pick-perplexity svg")).to_be_visible()
    expect(tab.locator(".pick-loss")).to_be_hidden()
    assert tab.locator(".pick-perplexity svg").bounding_box()["width"] > 200  # type: ignore[index]
    tab.locator(".picker button", has_text="Log").click()
    expect(tab.locator("#log")).to_be_visible()
    expect(field(tab, "max-steps")).to_be_hidden()
    tab.locator("#setup .fold-toggle").click()
    expect(field(tab, "max-steps")).to_be_visible()


def test_the_theme_and_the_tab_are_still_there_after_a_reload(finished_page: Page, open_tab: OpenTab) -> None:
    tab = open_tab(finished_page.url)
    show(tab, "Train")
    was_dark = tab.evaluate("document.body.classList.contains('dark')")
    tab.locator("[data-act=theme]").click()
    tab.reload()
    expect(tab.locator("#strip")).to_be_visible()
    assert tab.evaluate("document.body.classList.contains('dark')") != was_dark


def test_another_run_can_be_chosen_and_says_why_it_failed(finished_page: Page, open_tab: OpenTab) -> None:
    tab = open_tab(finished_page.url)
    show(tab, "Train")
    expect(tab.locator(".strip")).to_have_attribute("data-run", "calm-kea")
    expect(tab.locator("#resume")).to_be_hidden()
    tab.locator("#runs [data-run=sad-kea]").click()
    expect(tab.locator(".strip")).to_have_attribute("data-run", "sad-kea")
    expect(tab.locator("#problem")).to_contain_text("Loss is nan at step 20")
    expect(tab.locator("#resume")).to_be_visible()


def test_the_tab_key_reaches_every_control_and_shows_its_focus(finished_page: Page, open_tab: OpenTab) -> None:
    tab = open_tab(finished_page.url)
    show(tab, "Generate")
    expect(tab.locator("#keep")).to_be_visible()
    seen = set()
    while (focused := tab.evaluate(FOCUSED))["tag"] != "BODY" or not seen:
        assert focused["ring"] or not seen, focused
        seen.add(focused["id"])
        tab.keyboard.press("Tab")
        assert len(seen) < 100
    assert {"prompts", "prompt", "complete", "revision", "completion-seed", "example-title", "keep"} <= seen


FOCUSED = """() => {
  const e = document.activeElement;
  const around = e.closest('.segments label') || (e.closest('.secondary-wrap') ? e.closest('.container > .wrap') : e) || e;
  const style = getComputedStyle(around);
  const ring = (style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0) || style.boxShadow !== 'none';
  return { tag: e.tagName, id: e.closest('[id]:not([id^=html-]):not([id^=range])')?.id || '', ring };
}"""


def outside(tab: Tab) -> list[str]:
    """Visible buttons, fields and cards beyond the left or right edge, unless an ancestor of theirs scrolls."""
    return tab.evaluate(
        """() => [...document.querySelectorAll('button, input, textarea, .card')].filter((e) => {
            const box = e.getBoundingClientRect();
            if (!box.width || !box.height || e.closest('.visually-hidden, .unseen')) return false;
            for (let up = e.parentElement; up; up = up.parentElement)
              if (['auto', 'scroll'].includes(getComputedStyle(up).overflowX) && up !== document.body) return false;
            return box.right > innerWidth + 1 || box.left < -1;
        }).map((e) => e.outerHTML.slice(0, 120))"""
    )
