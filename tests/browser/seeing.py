"""What the tests of programs in the visitor's browser do on the page."""

from __future__ import annotations

from playwright.sync_api import Frame, Locator, expect
from playwright.sync_api import Page as Tab

from tests.browser.conftest import wait_for

PROMPT = "import matplotlib.pyplot as plt\n"
DRAW = "plt.plot([1])\n"


def offer(tab: Tab) -> Locator:
    return tab.locator("#completion .see")


def press(tab: Tab) -> Locator:
    """Both presses. Returns what stands below them."""
    offer(tab).get_by_role("button", name="See its plot").click()
    offer(tab).get_by_role("button", name="Fetch and run").click()
    return offer(tab)


def state(tab: Tab) -> Locator:
    return offer(tab).locator(".see-state")


def output(tab: Tab) -> Locator:
    return offer(tab).locator(".see-output")


def limited(tab: Tab, **limits: int) -> None:
    """Lower the limits that the page keeps."""
    offer(tab).evaluate(
        "(e, limits) => { e.dataset.limits = JSON.stringify({ ...JSON.parse(e.dataset.limits), ...limits }); }", limits
    )


def sandbox(tab: Tab) -> Frame:
    """The document of the frame."""
    wait_for(tab, "the frame", lambda: len(tab.frames) == 2)
    frame = tab.frames[1]
    frame.wait_for_load_state()
    return frame


def ends(tab: Tab, text: str) -> None:
    """The run ends with this message, and leaves neither frame nor worker."""
    expect(state(tab)).to_contain_text(text)
    expect(tab.locator("iframe")).to_have_count(0)
    wait_for(tab, "the end of the worker", lambda: tab.workers == [])
