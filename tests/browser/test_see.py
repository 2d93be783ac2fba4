"""A completion that draws is run in the visitor's browser, in a frame without our origin, and its plot is shown."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from playwright.sync_api import Page as Tab
from playwright.sync_api import expect

from pipeline.core.paths import Home
from pipeline.gallery.examples import Examples
from tests import pyodide
from tests.browser.conftest import DESK, show
from tests.browser.pyodide_host import PyodideHost
from tests.browser.seeing import DRAW, PROMPT, ends, limited, offer, output, press, state
from tests.browser.test_axe import violations
from tests.browser.test_look import ON_PHONE
from tests.gallery.test_examples import keep
from tests.page import Page

pytestmark = [pytest.mark.slow, pytest.mark.browser]

OpenTab = Callable[..., Tab]
CORE = set(pyodide.FILES)


def test_the_plots_appear_and_what_was_printed(open_example: Callable[..., Tab], pyodide_host: PyodideHost) -> None:
    tab = open_example("plt.scatter([1, 2], [3, 4])\nprint('two points')\nplt.show()\nplt.plot([1])\n")
    press(tab)
    ends(tab, "Finished: 2 plots.")
    images = offer(tab).locator(".see-plots img")
    expect(images).to_have_count(2)
    assert images.nth(1).evaluate("(e) => e.decode().then(() => [e.naturalWidth, e.naturalHeight])") == [320, 200]
    assert images.nth(1).get_attribute("alt") == "Plot 2 of this program"
    expect(output(tab)).to_have_text("two points\n")
    assert set(pyodide_host.files) == CORE | {"numpy-1.0-py3-none-any.whl", "matplotlib-1.0-py3-none-any.whl"}
    num_asked = len(pyodide_host.asked)
    offer(tab).get_by_role("button", name="Run again").click()
    expect(output(tab)).to_be_hidden()
    ends(tab, "Finished: 2 plots.")
    assert len(pyodide_host.asked) == num_asked, "the page has kept the files"
    assert all("Cookie" not in headers and "Referer" not in headers for _, headers in pyodide_host.asked)


def test_nothing_is_fetched_before_a_press_that_says_what_comes_from_where(
    open_example: Callable[..., Tab], pyodide_host: PyodideHost, seeing_page: Page
) -> None:
    tab = open_example(DRAW)
    asked: list[str] = []
    tab.context.on("request", lambda request: asked.append(request.url))
    offer(tab).get_by_role("button", name="See its plot").click()
    where = pyodide_host.url.split("/")[2]
    expect(offer(tab)).to_contain_text(
        f"Pyodide 314.0.7, which is Python for browsers, with matplotlib, numpy from {where}"
    )
    expect(offer(tab)).to_contain_text("about 29 MB")
    expect(offer(tab)).to_contain_text("never on this server, for at most 60 s")
    tab.wait_for_timeout(1_000)
    assert pyodide_host.asked == []
    assert [url for url in asked if "/studio/see" in url or not url.startswith(seeing_page.url)] == []
    assert tab.locator("iframe").count() == 0
    offer(tab).get_by_role("button", name="Fetch and run").click()
    ends(tab, "Finished: one plot.")
    assert {url for url in asked if not url.startswith((seeing_page.url, "blob:", "data:"))} == {
        pyodide_host.url + name for name in pyodide_host.files
    }


def test_an_error_is_shown_with_the_lines_of_the_program_alone(open_example: Callable[..., Tab]) -> None:
    tab = open_example("plt.hist(missing)\n")
    press(tab)
    ends(tab, "It ended with an error.")
    expect(output(tab)).to_contain_text('File "program.py", line 2, in <module>')
    expect(output(tab)).to_contain_text("NameError: name 'missing' is not defined")
    assert "exec" not in (output(tab).text_content() or "")


def test_cancel_ends_fetching_and_running(open_example: Callable[..., Tab], pyodide_host: PyodideHost) -> None:
    tab = open_example(DRAW + "while True:\n    pass\n")
    pyodide_host.kept_back = "pyodide.asm.wasm"
    press(tab)
    expect(state(tab)).to_contain_text("Fetched")
    offer(tab).get_by_role("button", name="Cancel").click()
    ends(tab, "Cancelled.")
    pyodide_host.release.set()
    offer(tab).get_by_role("button", name="Run again").click()
    expect(state(tab)).to_contain_text("Running, for at most 60 s")
    offer(tab).get_by_role("button", name="Cancel").click()
    ends(tab, "Cancelled.")


def test_a_host_that_sends_something_else_or_nothing_is_named(
    open_example: Callable[..., Tab], pyodide_host: PyodideHost
) -> None:
    tab = open_example(DRAW)
    pyodide_host.wrong = "matplotlib-1.0-py3-none-any.whl"
    press(tab)
    ends(tab, f"Pyodide could not be fetched from {pyodide_host.url.split('/')[2]}")
    pyodide_host.wrong, pyodide_host.kept_back = "", "pyodide.asm.wasm"
    limited(tab, load_seconds=1)
    offer(tab).get_by_role("button", name="Run again").click()
    ends(tab, "Python had not started after 1 s")


def test_another_example_ends_the_run_of_the_one_before(
    open_example: Callable[..., Tab], seeing_page: Page, pyodide_host: PyodideHost
) -> None:
    tab = open_example(DRAW + "print('first')\nwhile True:\n    pass\n")
    keep(Examples(Home(seeing_page.home).gallery), prompt=PROMPT, texts=["plt.bar(1, 2)\n"], title="The other")
    limited(tab, run_seconds=600)  # so that it is not the limit that ends it
    press(tab)
    expect(state(tab)).to_contain_text("Running")
    show(tab, "Gallery")
    tab.locator("#gallery article", has_text="The other").get_by_role("button", name="Open").click()
    expect(tab.locator("#completion")).to_contain_text("plt.bar(1, 2)")
    expect(tab.locator("iframe")).to_have_count(0)
    expect(offer(tab).locator(".see-body")).to_be_hidden()
    press(tab)
    ends(tab, "Finished: one plot.")
    expect(output(tab)).to_be_hidden()


def test_only_what_draws_is_offered_and_what_is_missing_is_named(open_example: Callable[..., Tab]) -> None:
    tab = open_example(
        "df = pd.DataFrame()\n", "import seaborn as sns\nsns.histplot([1])\n", "x = np.zeros(3)\nplt.plot(x)\nplt.bar(",
        prompt="# a comment\n",
    )  # fmt: skip
    expect(offer(tab)).to_have_count(1)
    expect(tab.locator("#completion")).to_contain_text("it needs seaborn, which Pyodide does not have")
    offer(tab).get_by_role("button", name="See its plot").click()
    expect(offer(tab)).to_contain_text("It uses np, plt without importing them")
    expect(offer(tab)).to_contain_text("Its last line does not parse and is left out.")
    code = offer(tab).get_attribute("data-code")
    assert code is not None and json.dumps(code).count("import") == 2 and "plt.bar" not in code


def test_keys_alone_run_and_cancel_it(open_example: Callable[..., Tab]) -> None:
    tab = open_example(DRAW + "while True:\n    pass\n")
    offer(tab).get_by_role("button", name="See its plot").focus()
    tab.keyboard.press("Enter")
    tab.keyboard.press("Tab")
    tab.keyboard.press("Enter")
    expect(offer(tab).get_by_role("button", name="Cancel")).to_be_focused()
    expect(state(tab)).to_contain_text("Running")
    tab.keyboard.press("Enter")
    ends(tab, "Cancelled.")
    expect(offer(tab).get_by_role("button", name="Run again")).to_be_focused()


@pytest.mark.parametrize(("look", "theme"), [({"viewport": DESK}, "light"), (ON_PHONE, "dark")], ids=["desk", "phone"])
def test_axe_finds_nothing_and_nothing_is_wider_than_the_screen(
    open_example: Callable[..., Tab], look: dict[str, object], theme: str
) -> None:
    tab = open_example(DRAW + "print('word ' * 99, 'w' * 300)\n", query=f"&__theme={theme}", **look)
    press(tab)
    ends(tab, "Finished: one plot.")
    assert violations(tab) == []
    assert tab.evaluate("document.documentElement.scrollWidth") <= tab.evaluate("innerWidth")
    for button in offer(tab).get_by_role("button").all():
        box = button.bounding_box()
        assert box is not None and box["height"] >= (44 if "is_mobile" in look else 24)


def test_the_real_matplotlib_draws() -> None:
    pytest.skip(
        "numpy and matplotlib for Pyodide are on its CDN alone, and tests ask no host of the network. By hand: start the page "
        "with its default PIPELINE_PYODIDE_URL, complete `# create scatter plot with x, y` and press See its plot."
    )
