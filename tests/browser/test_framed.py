"""Clickjacking: framed by another site, the page shows no button. The Hub's own frame shows the page."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Route, expect
from playwright.sync_api import Page as Tab

from tests.browser.conftest import DESK
from tests.page import Page

pytestmark = [pytest.mark.slow, pytest.mark.browser]


@pytest.fixture
def tab(browser: Browser) -> Iterator[Tab]:
    context = browser.new_context(viewport=DESK)
    yield context.new_page()
    context.unroute_all(behavior="ignoreErrors")  # a request may be on its way while the tab closes
    context.close()


OWN = "https://own-studio.hf.space"


def framed(tab: Tab, site: str, page: Page) -> Tab:
    """`tab` on `site`, which frames our page, served under the host name of a Space."""

    def serve(route: Route) -> None:
        path = route.request.url.removeprefix(OWN)
        if "/heartbeat/" in path or "/queue/" in path:  # streams, which a route cannot forward
            route.abort()
        else:
            route.fulfill(response=route.fetch(url=page.url + path, headers={}))

    tab.context.route(f"{OWN}/**", serve)
    body = f'<iframe src="{OWN}/" width="1200" height="700"></iframe>'
    tab.context.route(f"{site}/", lambda route: route.fulfill(content_type="text/html", body=body))
    tab.goto(f"{site}/")
    return tab


def test_another_space_shows_a_link_and_no_button(tab: Tab, finished_page: Page) -> None:
    frame = framed(tab, "https://stranger.hf.space", finished_page).frame_locator("iframe")
    expect(frame.locator("#framed")).to_contain_text("Open it by itself")
    expect(frame.locator("button")).to_have_count(0)


def test_the_hubs_own_frame_shows_the_page(tab: Tab, finished_page: Page) -> None:
    """The control of the other tests."""
    frame = framed(tab, "https://huggingface.co", finished_page).frame_locator("iframe")
    expect(frame.locator("#scan")).to_have_count(1)
    expect(frame.locator("#framed")).to_have_count(0)


def test_any_other_site_shows_nothing_at_all(tab: Tab, finished_page: Page) -> None:
    framed(tab, "https://evil.example", finished_page)
    tab.wait_for_timeout(3_000)
    [inner] = [frame for frame in tab.frames if frame != tab.main_frame]
    assert not inner.url.startswith(OWN)
