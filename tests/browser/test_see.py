"""A completion that draws is run in the visitor's browser, in a frame without our origin, and its plot is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Locator, expect
from playwright.sync_api import Page as Tab

from pipeline.core.paths import Home
from pipeline.gallery.examples import Examples
from tests import pyodide
from tests.browser.conftest import show
from tests.browser.pyodide_host import PyodideHost
from tests.gallery.test_examples import keep
from tests.page import Page

pytestmark = [pytest.mark.slow, pytest.mark.browser]

OpenTab = Callable[..., Tab]
PROMPT = "import matplotlib.pyplot as plt\n"
CORE = set(pyodide.FILES)


@pytest.fixture(scope="module")
def host() -> Iterator[PyodideHost]:
    folder = pyodide.find()
    if folder is None:
        pytest.skip(f"The interpreter of the npm package is not here. {pyodide.REMEDY}")
    host = PyodideHost(folder)
    yield host
    host.close()


@pytest.fixture(scope="module")
def page(host: PyodideHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    page = Page(tmp_path_factory.mktemp("see") / "home", PIPELINE_PYODIDE_URL=host.url)
    page.start()
    yield page
    page.kill()


@pytest.fixture
def opened(page: Page, host: PyodideHost, open_tab: OpenTab) -> Callable[..., Tab]:
    """Opens the page with a kept example of these completions."""
    host.reset()

    def open_example(*texts: str, prompt: str = PROMPT, query: str = "", **look: object) -> Tab:
        kept = keep(Examples(Home(page.home).gallery), prompt=prompt, texts=list(texts))
        tab = open_tab(f"{page.url}/?example={kept.id}{query}", **look)
        show(tab, "Generate")
        expect(tab.locator("#completion .written-code").first).to_be_visible()
        return tab

    return open_example


def offer(tab: Tab) -> Locator:
    return tab.locator("#completion .see")


def press(tab: Tab) -> Locator:
    """Both presses. Returns what stands below them."""
    offer(tab).get_by_role("button", name="See its plot").click()
    offer(tab).get_by_role("button", name="Fetch and run").click()
    return offer(tab)


def state(tab: Tab) -> Locator:
    return offer(tab).locator(".see-state")


def test_the_plot_appears(opened: Callable[..., Tab], host: PyodideHost) -> None:
    tab = opened("plt.scatter([1, 2], [3, 4])\nprint('two points')\n")
    press(tab)
    expect(state(tab)).to_have_text("Finished: one plot.")
    image = offer(tab).locator(".see-plots img")
    expect(image).to_have_count(1)
    assert image.evaluate("(e) => e.decode().then(() => [e.naturalWidth, e.naturalHeight])") == [320, 200]
    expect(offer(tab).locator(".see-output")).to_have_text("two points\n")
    expect(tab.locator("iframe")).to_have_count(0)
    assert set(host.files) == CORE | {"numpy-1.0-py3-none-any.whl", "matplotlib-1.0-py3-none-any.whl"}
