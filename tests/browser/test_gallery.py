"""The gallery as visitors and its owner use it: pages, reports, hiding, deleting."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Locator, Response, expect
from playwright.sync_api import Page as Tab

from pipeline.config.prompts import course_prompts
from pipeline.core.paths import Home
from pipeline.gallery.example import Example
from pipeline.gallery.examples import Examples
from tests.browser.conftest import field, show
from tests.browser.test_look import ON_PHONE, outside
from tests.gallery.test_examples import keep
from tests.page import Page

pytestmark = [pytest.mark.slow, pytest.mark.browser]

OpenTab = Callable[..., Tab]
OWNER_KEY = "a long key of the gallery owner"
LONG = "for column in frame.columns:\n    plt.plot(frame.index, frame[column], label=column)\n" * 100


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A page bound to all interfaces, with an owner's key."""
    home = tmp_path_factory.mktemp("public") / "home"
    page = Page(home, GRADIO_SERVER_NAME="0.0.0.0", PIPELINE_OWNER_KEY=OWNER_KEY)
    page.start()
    yield page
    page.kill()


def gallery_of(page: Page) -> Examples:
    return Examples(Home(page.home).gallery)


def fill(page: Page, num_examples: int) -> list[Example]:
    """Empty the gallery and add `num_examples`; returns them, oldest first."""
    gallery = gallery_of(page)
    for path in gallery.folder.glob("*.json*"):
        path.unlink()
    texts = ["df = pd.DataFrame({'x': x, 'y': y})\nplt.scatter(df.x, df.y)\n", LONG, "x" * 3_000]
    return [keep(gallery, texts=[texts[number % 3]], title=f"Example {number}") for number in range(num_examples)]


def is_of_a_selected_tab(response: Response) -> bool:
    data = response.request.post_data_json if response.request.method == "POST" else None
    return isinstance(data, dict) and bool(data.get("event_data"))


def open_gallery(open_tab: OpenTab, url: str, **look: Any) -> Tab:
    tab = open_tab(url, **look)
    # The answer to the selected tab would replace what a button shows that is pressed before it.
    if "gallery=" in url:  # the page selects it
        expect(tab.locator("#gallery article").first).to_be_visible()
        tab.wait_for_timeout(2_000)
    else:
        with tab.expect_response(is_of_a_selected_tab):
            show(tab, "Gallery")
    expect(tab.locator("#gallery article").first).to_be_visible()
    return tab


def card(tab: Tab, example: Example) -> Locator:
    return tab.locator(f"#gallery article[data-id='{example.id}']")


def press(tab: Tab, example: Example, name: str) -> None:
    card(tab, example).get_by_role("button", name=name, exact=True).click()


def test_the_pager_moves_forward_and_back_and_scrolls_to_the_top(public: Page, open_tab: OpenTab) -> None:
    kept = fill(public, 50)
    tab = open_gallery(open_tab, public.url)
    expect(tab.locator("#gallery article")).to_have_count(24)
    expect(tab.locator("#gallery article h3").first).to_have_text("Example 49")
    expect(tab.get_by_role("button", name="Previous", exact=True)).to_be_disabled()
    pager = tab.locator(".pager")
    expect(pager).to_contain_text("page 1 of 3")
    pager.get_by_role("button", name="Next").click()
    expect(pager).to_contain_text("page 2 of 3")
    expect(card(tab, kept[25])).to_be_in_viewport()
    pager.get_by_role("button", name="Next").click()
    expect(tab.locator("#gallery article h3")).to_have_text(["Example 1", "Example 0"])
    expect(pager.get_by_role("button", name="Next")).to_be_disabled()
    pager.get_by_role("button", name="Previous").click()
    expect(pager).to_contain_text("page 2 of 3")
    show(tab, "Data")
    show(tab, "Gallery")
    expect(pager).to_contain_text("page 2 of 3")
    other = open_gallery(open_tab, public.url)
    expect(other.locator(".pager")).to_contain_text("page 1 of 3")


def test_a_card_shows_the_beginning_and_open_the_whole(public: Page, open_tab: OpenTab) -> None:
    kept = fill(public, 3)
    tab = open_gallery(open_tab, public.url)
    shown = card(tab, kept[1]).locator("pre").inner_text()
    assert shown.rstrip().endswith("…")
    assert len(shown) < 1_300
    press(tab, kept[1], "Open")
    expect(tab.locator("#completion .pill")).to_have_text(re.compile("Kept example"))
    assert tab.locator("#completion pre.new").inner_text().strip() == LONG.strip()


def test_a_visitor_reports_and_the_owner_sees_it_and_hides_it(public: Page, open_tab: OpenTab) -> None:
    kept = fill(public, 3)
    visitor = open_gallery(open_tab, public.url)
    expect(card(visitor, kept[0]).get_by_role("button")).to_have_text(
        ["Same prompt", "Same run", "Open", "Remix", "Report"]
    )
    press(visitor, kept[0], "Report")
    expect(card(visitor, kept[0]).locator(".notice")).to_contain_text("Reported. The owner of this page decides")
    expect(visitor.locator("#gallery")).not_to_contain_text("1 report")
    assert gallery_of(public).state(kept[0].id).num_reports == 1

    owner = open_tab(public.url)
    show(owner, "Train")
    field(owner, "owner-key").fill(OWNER_KEY)
    owner.locator("#unlock").click()
    expect(owner.locator("#owner-key")).to_be_hidden()
    show(owner, "Gallery")
    expect(card(owner, kept[0]).locator(".pill")).to_contain_text("1 report")
    owner.get_by_role("button", name="Reported first (1)").click()
    expect(owner.locator("#gallery article h3").first).to_have_text("Example 0")
    press(owner, kept[0], "Hide")
    expect(card(owner, kept[0]).locator(".pill")).to_contain_text("Hidden")
    expect(owner.get_by_role("button", name="Reported first (0)")).to_be_visible()

    again = open_gallery(open_tab, public.url)
    expect(again.locator("#gallery article")).to_have_count(2)
    expect(card(again, kept[0])).to_have_count(0)
    link = open_tab(f"{public.url}/?example={kept[0].id}")
    expect(link.locator("#completion .notice")).to_contain_text("was hidden by the owner of this page")
    expect(link.locator("#completion pre.new")).to_have_count(0)


def test_on_loopback_the_owner_hides_shows_pins_and_deletes(start_page: Callable[..., Page], open_tab: OpenTab) -> None:
    page = start_page()
    kept = fill(page, 3)
    tab = open_gallery(open_tab, page.url)
    press(tab, kept[1], "Hide")
    expect(card(tab, kept[1]).locator(".pill")).to_contain_text("Hidden")
    link = open_tab(f"{page.url}/?example={kept[1].id}")
    expect(link.locator("#permalink")).to_contain_text("is hidden: only you")
    press(tab, kept[1], "Show")
    expect(card(tab, kept[1]).locator(".pill")).to_have_count(0)
    press(tab, kept[2], "Pin")
    expect(card(tab, kept[2]).locator(".pill")).to_contain_text("Pinned")
    press(tab, kept[0], "Delete")
    expect(card(tab, kept[0]).locator(".notice")).to_contain_text("Its link will lead nowhere")
    press(tab, kept[0], "Keep it")
    expect(card(tab, kept[0]).locator(".notice")).to_have_count(0)
    assert gallery_of(page).page(1).num_examples == 3
    press(tab, kept[0], "Delete")
    press(tab, kept[0], "Delete it")
    expect(card(tab, kept[0])).to_have_count(0)
    expect(tab.locator("#gallery .notice")).to_contain_text(f"Example {kept[0].id} was deleted.")
    gone = open_tab(f"{page.url}/?example={kept[0].id}")
    expect(gone.locator("#completion .notice")).to_contain_text("There is no example")
    page.kill()
    page.start()
    tab = open_gallery(open_tab, page.url)
    expect(tab.locator("#gallery article")).to_have_count(2)
    expect(card(tab, kept[2]).locator(".pill")).to_contain_text("Pinned")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("look", [{}, ON_PHONE], ids=["desk", "phone"])
def test_every_button_of_the_owner_fits_the_screen(
    start_page: Callable[..., Page], open_tab: OpenTab, look: Any, theme: str
) -> None:
    page = start_page()
    kept = fill(page, 30)
    gallery = gallery_of(page)
    gallery.report(kept[29].id, "somebody")
    gallery.report(kept[29].id, "somebody else")
    gallery.pin(kept[29].id)
    gallery.hide(kept[28].id)
    tab = open_gallery(open_tab, f"{page.url}/?__theme={theme}", **look)
    press(tab, kept[27], "Delete")
    expect(card(tab, kept[27]).locator(".notice")).to_be_visible()
    assert outside(tab) == []
    assert tab.evaluate("document.documentElement.scrollWidth") <= tab.viewport_size["width"]  # type: ignore[index]


def test_the_prompt_of_an_example_is_in_sight_on_a_phone(public: Page, open_tab: OpenTab) -> None:
    first, *_, last = course_prompts()
    fill(public, 0)
    kept = keep(gallery_of(public), prompt=last.text)
    tab = open_tab(f"{public.url}/?example={kept.id}", **ON_PHONE)
    pressed = tab.locator("#prompts [aria-pressed=true]")
    expect(pressed).to_contain_text(last.name)
    expect(pressed).to_be_in_viewport(ratio=0.99)
    before = tab.evaluate("scrollY")
    field(tab, "prompt").fill(first.text)
    expect(pressed).to_contain_text(first.name)
    expect(pressed).to_be_in_viewport(ratio=0.99)
    assert tab.evaluate("scrollY") == before, "only the strip scrolls"
