"""The owner of a page that other machines reach: unlocks it in all tabs of one browser, and locks it again."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page as Tab
from playwright.sync_api import Request, Route, expect

from pipeline.core.atomic_io import read_lines
from pipeline.core.paths import Home
from tests.browser.conftest import PHONE, field, show
from tests.page import Page

pytestmark = [pytest.mark.slow, pytest.mark.browser]

OpenTab = Callable[..., Tab]
KEY = "open sesame open sesame"


@pytest.fixture(scope="module")
def lan_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A page bound to all interfaces. Tests start nothing on it."""
    page = Page(tmp_path_factory.mktemp("lan") / "home", GRADIO_SERVER_NAME="0.0.0.0", PIPELINE_OWNER_KEY=KEY)
    page.start()
    yield page
    page.kill()


def opened(url: str, open_tab: OpenTab) -> Tab:
    tab = open_tab(url)
    show(tab, "Train")
    expect(tab.locator("#owner-key")).to_be_visible()
    return tab


def unlock(tab: Tab, key: str = KEY) -> None:
    field(tab, "owner-key").fill(key)
    tab.locator("#unlock").click()


def second_tab(tab: Tab) -> Tab:
    """Another tab of the same browser."""
    other = tab.context.new_page()
    other.goto(tab.url)
    show(other, "Train")
    return other


def answer_to_start(tab: Tab) -> str:
    """The page's message at a start with an invalid max_steps: it names the field Steps, or says that it is for the owner."""
    field(tab, "max-steps").fill("0")
    begin = tab.evaluate("window.gradio_config.dependencies.find((event) => event.api_name === 'begin').id")
    with tab.expect_response(lambda response: f'"fn_index":{begin},' in (response.request.post_data or "")):
        tab.locator("#start").dispatch_event("click")  # a visitor's page hides it
    notice = tab.locator("#train-answer .notice")
    expect(notice).to_contain_text(re.compile("“Steps” is 0|for the owner"))
    return notice.inner_text()


def test_the_owner_stays_signed_in_in_all_tabs_of_one_browser(lan_page: Page, open_tab: OpenTab) -> None:
    tab = opened(lan_page.url, open_tab)
    expect(tab.locator("#who")).to_have_text("visitor")
    expect(tab.locator("#lock")).to_be_hidden()
    field(tab, "max-steps").fill("0")
    unlock(tab)
    expect(tab.locator("#who")).to_have_text("owner")
    expect(tab.locator("#owner-key")).to_be_hidden()
    expect(field(tab, "max-steps")).to_have_value("0")  # values entered before stay
    assert "“Steps” is 0" in answer_to_start(tab)
    tab.reload()
    expect(tab.locator("#who")).to_have_text("owner")
    show(tab, "Train")
    expect(tab.locator("#owner-key")).to_be_hidden()
    expect(second_tab(tab).locator("#who")).to_have_text("owner")
    stranger = opened(lan_page.url, open_tab)
    expect(stranger.locator("#who")).to_have_text("visitor")
    assert "for the owner" in answer_to_start(stranger)


def test_lock_signs_out_every_tab(lan_page: Page, open_tab: OpenTab) -> None:
    tab = opened(lan_page.url, open_tab)
    unlock(tab)
    expect(tab.locator("#who")).to_have_text("owner")
    other = second_tab(tab)
    expect(other.locator("#lock")).to_be_visible()
    tab.locator("#lock").click()
    for each in (tab, other):
        expect(each.locator("#who")).to_have_text("visitor")
        expect(each.locator("#lock")).to_be_hidden()
        expect(each.locator("#owner-key")).to_be_visible()
        assert "for the owner" in answer_to_start(each)
    unlock(other)  # the first tab is unlocked too
    expect(tab.locator("#who")).to_have_text("owner")
    expect(tab.locator("#owner-key")).to_be_hidden()
    actions = [row["action"] for row in read_lines(Home(lan_page.home).audit)]
    assert actions[-3:] == ["unlock", "lock", "unlock"]


def test_a_wrong_key_is_answered_by_a_sentence_and_further_ones_by_a_delay(lan_page: Page, open_tab: OpenTab) -> None:
    tab = opened(lan_page.url, open_tab)
    notice = tab.locator("#access .notice")
    expect(notice).to_contain_text("for the owner of this page")
    for number in range(12):  # each checked key doubles the delay, which soon exceeds the time of typing
        with tab.expect_response("**/studio/unlock") as answer:
            unlock(tab, f"open barley {number}")
        expect(field(tab, "owner-key")).to_have_value("")
        if answer.value.status == 429:
            break
        expect(notice).to_contain_text("not the owner's key")
    expect(notice).to_contain_text(re.compile(r"too many wrong ones came before it\. Wait \d+ (s|min)"))
    expect(notice).to_have_attribute("role", "alert")
    unlock(tab)
    expect(tab.locator("#who")).to_have_text("owner")
    tab.locator("#lock").click()
    expect(notice).to_contain_text("for the owner of this page")


def test_the_key_goes_to_one_address_only_and_is_kept_nowhere(lan_page: Page, open_tab: OpenTab) -> None:
    tab = opened(lan_page.url, open_tab)
    sent: list[Request] = []
    tab.on("request", lambda request: sent.append(request))  # noqa: PLW0108 - Playwright marks the function
    field(tab, "owner-key").fill(KEY)
    field(tab, "owner-key").press("Enter")
    expect(tab.locator("#who")).to_have_text("owner")
    answer_to_start(tab)
    carriers = [request for request in sent if "sesame" in request.url + (request.post_data or "")]
    assert [request.url for request in carriers] == [f"{lan_page.url}/studio/unlock"]
    assert field(tab, "owner-key").input_value() == ""
    assert field(tab, "owner-key").get_attribute("type") == "password"
    assert "studio_owner" not in tab.evaluate("document.cookie")
    [cookie] = [cookie for cookie in tab.context.cookies() if cookie["name"] == "studio_owner"]
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["secure"]) == (True, "Strict", False)
    kept = tab.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
    assert "sesame" not in kept and cookie["value"] not in kept


def test_on_a_phone_the_owner_can_unlock_and_lock(lan_page: Page, open_tab: OpenTab) -> None:
    tab = open_tab(lan_page.url, viewport=PHONE)
    show(tab, "Train")
    unlock(tab)
    expect(tab.locator("#lock")).to_be_visible()
    assert tab.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    tab.locator("#lock").click()
    expect(tab.locator("#owner-key")).to_be_visible()


def keep_no_cookie(tab: Tab) -> None:
    """From now on, simulate a browser that refuses the cookie of the unlock response."""

    def answer_without_cookie(route: Route) -> None:
        answer = route.fetch()  # this stores the cookie in the browser too
        tab.context.clear_cookies(name="studio_owner")
        headers = {name: value for name, value in answer.headers.items() if name != "set-cookie"}
        route.fulfill(status=answer.status, headers=headers, body=answer.body())

    tab.route("**/studio/unlock", answer_without_cookie)


def test_a_browser_that_keeps_no_cookie_is_told_so(lan_page: Page, open_tab: OpenTab) -> None:
    tab = opened(lan_page.url, open_tab)
    keep_no_cookie(tab)
    unlock(tab)
    expect(tab.locator("#access .notice")).to_contain_text("The key is right, but this browser keeps no cookie")
    expect(tab.locator("#access .notice a")).to_have_count(0)
    expect(tab.locator("#who")).to_have_text("visitor")


def test_a_space_whose_cookie_is_refused_offers_its_own_address(tmp_path: Path, open_tab: OpenTab) -> None:
    space = {"SYSTEM": "spaces", "SPACE_ID": "me/studio", "SPACE_HOST": "me-studio.hf.space"}
    page = Page(tmp_path / "home", PIPELINE_OWNER_KEY=KEY, **space)
    page.start()
    try:
        tab = opened(page.url, open_tab)
        keep_no_cookie(tab)
        unlock(tab)
        link = tab.locator("#access .notice a")
        expect(link).to_have_attribute("href", "https://me-studio.hf.space/")
        expect(link).to_have_attribute("target", "_blank")
        expect(tab.locator("#access .notice")).to_contain_text("Unlock it in a tab of its own")
    finally:
        page.kill()


def test_a_page_that_does_not_answer_is_reported(lan_page: Page, open_tab: OpenTab) -> None:
    tab = opened(lan_page.url, open_tab)
    tab.route("**/studio/unlock", lambda route: route.abort())
    unlock(tab)
    expect(tab.locator("#access .notice")).to_contain_text("The page does not answer")
