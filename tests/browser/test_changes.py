"""An open page refreshes the tab that is shown, when something has changed; a hidden window asks nothing."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page as Tab
from playwright.sync_api import expect

from pipeline.core.atomic_io import append_line, locked, write_json
from pipeline.core.paths import Home
from pipeline.ui.shared.live_home import IDLE_SECONDS
from tests.homes import write_run
from tests.page import Page

OpenTab = Callable[..., Tab]
HIDE = """(hidden) => {
  Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });
  document.dispatchEvent(new Event('visibilitychange'));
}"""


def requests_of(tab: Tab) -> list[str]:
    """The paths that `tab` asks for from now on."""
    paths: list[str] = []
    tab.on("request", lambda request: paths.append(request.url.split("/", 3)[3].split("?")[0]))
    return paths


def settled(tab: Tab) -> None:
    expect(tab.locator("#scan-progress")).to_contain_text("Scan finished")
    tab.wait_for_timeout(1_000 * IDLE_SECONDS)


def test_an_idle_page_polls_and_refreshes_nothing_and_a_hidden_one_is_silent(
    start_page: Callable[..., Page], open_tab: OpenTab
) -> None:
    page = start_page()
    tab = open_tab(page.url)
    settled(tab)
    paths = requests_of(tab)
    tab.wait_for_timeout(2_000 * IDLE_SECONDS + 1_000)
    assert 1 <= paths.count("studio/changes") <= 3
    assert set(paths) == {"studio/changes"}, "Gradio was asked nothing"
    tab.evaluate(HIDE, True)
    paths.clear()
    tab.wait_for_timeout(1_000 * IDLE_SECONDS + 1_500)
    assert paths == []
    tab.evaluate(HIDE, False)
    tab.wait_for_timeout(1_000)
    assert "studio/changes" in paths, "at once when it is shown again"


def test_what_another_program_writes_appears_on_the_tab_that_is_shown(
    start_page: Callable[..., Page], open_tab: OpenTab
) -> None:
    page = start_page()
    tab = open_tab(page.url)
    settled(tab)
    run = write_run(Home(page.home), "calm-kea", state="running")
    with locked(run.lock):
        tab.wait_for_timeout(1_000 * IDLE_SECONDS + 2_000)  # on the Data tab
        tab.get_by_role("tab", name="Train").click()
        expect(tab.locator("#strip")).to_contain_text("calm-kea")
        append_line(run.metrics, {"step": 21, "train_loss": 1.2345})
        write_json(run.status, {"request_id": "calm-kea", "state": "running", "step": 21, "max_steps": 50})
        expect(tab.locator("#strip")).to_contain_text("21")
    expect(tab.locator("#strip")).to_contain_text("Interrupted")
