"""A completion that draws is run in the visitor's browser, in a frame without our origin, and its plot is shown."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Frame, Locator, expect
from playwright.sync_api import Page as Tab

from pipeline.core.paths import Home
from pipeline.gallery.examples import Examples
from tests import pyodide
from tests.browser.conftest import DESK, show, wait_for
from tests.browser.pyodide_host import PyodideHost
from tests.browser.test_axe import violations
from tests.browser.test_look import ON_PHONE
from tests.gallery.test_examples import keep
from tests.page import Page

pytestmark = [pytest.mark.slow, pytest.mark.browser]

OpenTab = Callable[..., Tab]
PROMPT = "import matplotlib.pyplot as plt\n"
DRAW = "plt.plot([1])\n"
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


def test_the_plots_appear_and_what_was_printed(opened: Callable[..., Tab], host: PyodideHost) -> None:
    tab = opened("plt.scatter([1, 2], [3, 4])\nprint('two points')\nplt.show()\nplt.plot([1])\n")
    press(tab)
    ends(tab, "Finished: 2 plots.")
    images = offer(tab).locator(".see-plots img")
    expect(images).to_have_count(2)
    assert images.nth(1).evaluate("(e) => e.decode().then(() => [e.naturalWidth, e.naturalHeight])") == [320, 200]
    assert images.nth(1).get_attribute("alt") == "Plot 2 of this program"
    expect(output(tab)).to_have_text("two points\n")
    assert set(host.files) == CORE | {"numpy-1.0-py3-none-any.whl", "matplotlib-1.0-py3-none-any.whl"}
    num_asked = len(host.asked)
    offer(tab).get_by_role("button", name="Run again").click()
    expect(output(tab)).to_be_hidden()
    ends(tab, "Finished: 2 plots.")
    assert len(host.asked) == num_asked, "the page has kept the files"
    assert all("Cookie" not in headers and "Referer" not in headers for _, headers in host.asked)


def test_nothing_is_fetched_before_a_press_that_says_what_comes_from_where(
    opened: Callable[..., Tab], host: PyodideHost, page: Page
) -> None:
    tab = opened(DRAW)
    asked: list[str] = []
    tab.context.on("request", lambda request: asked.append(request.url))
    offer(tab).get_by_role("button", name="See its plot").click()
    where = host.url.split("/")[2]
    expect(offer(tab)).to_contain_text(
        f"Pyodide 314.0.7, which is Python for browsers, with matplotlib, numpy from {where}"
    )
    expect(offer(tab)).to_contain_text("about 29 MB")
    expect(offer(tab)).to_contain_text("never on this server, for at most 60 s")
    tab.wait_for_timeout(1_000)
    assert host.asked == []
    assert [url for url in asked if "/studio/see" in url or not url.startswith(page.url)] == []
    assert tab.locator("iframe").count() == 0
    offer(tab).get_by_role("button", name="Fetch and run").click()
    ends(tab, "Finished: one plot.")
    assert {url for url in asked if not url.startswith((page.url, "blob:", "data:"))} == {
        host.url + name for name in host.files
    }


def test_the_frame_has_nothing_of_our_origin(opened: Callable[..., Tab], host: PyodideHost, page: Page) -> None:
    tab = opened(DRAW)
    host.kept_back = "pyodide.asm.wasm"
    press(tab)
    frame = sandbox(tab)
    tried = {
        "cookie": "document.cookie",
        "storage": "localStorage.length",
        "databases": "indexedDB.open('x')",
        "page": "parent.document",
        "top": "top.location.href",
    }
    for name, script in tried.items():
        with pytest.raises(Exception, match="SecurityError"):
            frame.evaluate(f"() => {script}")
            pytest.fail(name)
    assert frame.evaluate("self.origin") == "null"
    refused = "(url) => fetch(url).then(() => 'answered', (error) => error.name)"
    assert frame.evaluate(refused, f"{page.url}/studio/who") == "TypeError"
    assert frame.evaluate(refused, host.url.replace("/full/", "/other/")) == "TypeError", "another folder of the host"
    assert frame.evaluate(refused, f"{host.url}pyodide-lock.json") == "answered", "control"
    host.release.set()
    ends(tab, "Finished: one plot.")


def test_the_document_of_the_frame_is_without_our_origin_also_by_its_address(page: Page, open_tab: OpenTab) -> None:
    tab = open_tab(page.url)
    tab.goto(f"{page.url}/studio/see")
    assert tab.evaluate("self.origin") == "null"


LEAK = """
js = __import__("js")  # a program with a plain import of it is not offered
def leak(name):
    for kind in ("page", "host"):
        request = js.XMLHttpRequest.new()
        request.open("GET", {"page": "PAGE/studio/who?leak", "host": "HOSTleak"}[kind], False)
        try:
            request.send()
            print(kind, request.status)
        except BaseException as error:
            print(kind, "refused")
leak("x")
"""


@pytest.mark.parametrize("is_closed", [True, False], ids=["closed", "control"])
def test_the_policy_alone_keeps_a_program_from_the_network(
    host: PyodideHost, tmp_path: Path, open_tab: OpenTab, is_closed: bool
) -> None:
    """With all names left in the worker. In the control frame.js does not close the network."""
    host.reset()
    page = Page(tmp_path / "home", PIPELINE_PYODIDE_URL=host.url)
    page.command = ("-m", "tests.browser.weak_frame", *([] if is_closed else ["open"]))
    page.start()
    try:
        leak = LEAK.replace("PAGE", page.url).replace("HOST", host.url)
        kept = keep(Examples(Home(page.home).gallery), prompt=PROMPT, texts=[DRAW + leak])
        tab = open_tab(f"{page.url}/?example={kept.id}")
        press(tab)
        ends(tab, "Finished: one plot.")
        written = (output(tab).text_content() or "").splitlines()
        assert written == ["page refused", "host refused" if is_closed else "host 404"]
        assert [name for name in host.files if name == "leak"] == ([] if is_closed else ["leak"])
    finally:
        page.kill()


def test_a_program_finds_no_way_to_the_page_and_no_way_out(opened: Callable[..., Tab], page: Page) -> None:
    asked = "parent document window localStorage cookieStore fetch XMLHttpRequest WebSocket importScripts Worker indexedDB".split()
    tab = opened(
        DRAW
        + f"js = __import__('js')\nimport json\nfound = [name for name in {asked!r} if hasattr(js, name)]\nprint(json.dumps(found))\n"
        + "try:\n    js.eval('1')\nexcept BaseException as error:\n    print('no eval')\n"
        + f"try:\n    import urllib.request\n    urllib.request.urlopen('{page.url}/studio/who')\n"
        + "except BaseException as error:\n    print('no urllib')\n"
    )
    press(tab)
    ends(tab, "Finished: one plot.")
    assert output(tab).inner_text().split("\n")[:3] == ["[]", "no eval", "no urllib"]


def test_an_endless_program_is_ended_at_the_limit(opened: Callable[..., Tab]) -> None:
    tab = opened(DRAW + "print('begun', flush=True)\nwhile True:\n    pass\n")
    limited(tab, run_seconds=2)
    press(tab)
    ends(tab, "Ended by the time limit: it was still running after 2 s.")
    expect(output(tab)).to_have_text("begun\n")
    expect(offer(tab).get_by_role("button", name="Run again")).to_be_visible()


def test_100_mb_of_output_are_cut_and_html_in_it_is_text(opened: Callable[..., Tab]) -> None:
    attack = "<img src=x onerror='window.pwned=1'><script>window.pwned=1</script>"
    tab = opened(DRAW + f"print({attack!r})\nfor _ in range(100):\n    print('x' * 10**6)\n")
    press(tab)
    ends(tab, "Finished: one plot.")
    written = output(tab).text_content() or ""
    assert written.startswith(attack + "\n") and len(written) == 20_000
    expect(offer(tab).locator(".see-cut")).to_contain_text("The first 20,000 characters are shown")
    assert output(tab).locator("*").count() == 0
    assert not tab.evaluate("'pwned' in window")


NO_PNG = """
plt.figure(2)
plt.figure(3)
plt.figure(4)
plt.FILES = {
    1: b'<svg xmlns="http://www.w3.org/2000/svg" onload="window.pwned=1"/>' + b' ' * 99,
    2: bytes.fromhex('89504e470d0a1a0a') + b'<script>window.pwned=1</script>' + b' ' * 99,
    3: plt.png(1)[:16] + (60000).to_bytes(4, 'big') * 2 + plt.png(1)[24:],
}
"""


def test_what_is_no_png_image_is_not_shown(opened: Callable[..., Tab]) -> None:
    """SVG; HTML behind the signature of PNG; 60,000 x 60,000 pixels. The fourth is a plot."""
    tab = opened(DRAW + NO_PNG)
    press(tab)
    ends(tab, "It gave a plot that is no PNG image of a permitted size")
    expect(offer(tab).locator(".see-plots *")).to_have_count(1)
    assert offer(tab).locator(".see-plots img").get_attribute("alt") == "Plot 1 of this program"
    assert not tab.evaluate("'pwned' in window")


FORGED = {
    "another type": "{'type': 'navigate', 'url': 'https://evil.example/'}",
    "a result with text": "{'type': 'result', 'plots': ['<b>'], 'failed': False, 'isCut': False}",
}


@pytest.mark.parametrize("message", FORGED.values(), ids=FORGED)
def test_a_forged_message_of_a_program_ends_it(opened: Callable[..., Tab], message: str) -> None:
    tab = opened(
        DRAW
        + "js, to_js = __import__('js'), __import__('pyodide.ffi').ffi.to_js\n"
        + f"js.postMessage(to_js({message}, dict_converter=js.Object.fromEntries))\nwhile True:\n    pass\n"
    )
    press(tab)
    ends(tab, "it sent messages that are neither text nor plots")
    assert offer(tab).locator(".see-plots *").count() == 0


def test_a_message_that_is_not_from_the_frame_is_ignored(opened: Callable[..., Tab], host: PyodideHost) -> None:
    tab = opened(DRAW)
    host.kept_back = "pyodide.asm.wasm"
    press(tab)
    sandbox(tab)
    expect(state(tab)).to_contain_text("Fetched")
    tab.evaluate(
        "() => { const other = document.createElement('iframe'); document.body.append(other);"
        " const script = other.contentDocument.createElement('script');"
        " for (const from of [window, other.contentWindow])"
        "  from.eval(\"parent.postMessage({ type: 'failed', reason: 'python', detail: 'forged' }, '*')\");"
        " window.postMessage({ type: 'result', plots: [], failed: false, isCut: false }, '*'); other.remove(); }"
    )
    tab.wait_for_timeout(300)
    expect(state(tab)).to_contain_text("Fetched")
    # The frame's own, of a type that nobody knows, or known types with other content.
    sandbox(tab).evaluate(
        "() => { for (const message of [null, 5, 'x', { type: 'constructor' }, { type: 'output', text: {} },"
        " { type: 'progress', done: '<b>', total: NaN, bytes: 0 }, { type: 'result', plots: 'x' }])"
        " parent.postMessage(message, '*'); }"
    )
    tab.wait_for_timeout(300)
    expect(state(tab)).to_contain_text("Fetched")
    host.release.set()
    ends(tab, "Finished: one plot.")


def test_a_program_that_takes_all_memory_or_exits_gets_its_answer(opened: Callable[..., Tab]) -> None:
    tab = opened(
        DRAW
        + "try:\n    bytearray(2 * 10**9)\nexcept MemoryError:\n    print('no memory')\n"
        + "def broken():\n    raise SystemExit(3)\nbroken()\n"
    )
    press(tab)
    ends(tab, "Finished: one plot.")
    expect(output(tab)).to_have_text("no memory\n")


def test_an_error_is_shown_with_the_lines_of_the_program_alone(opened: Callable[..., Tab]) -> None:
    tab = opened("plt.hist(missing)\n")
    press(tab)
    ends(tab, "It ended with an error.")
    expect(output(tab)).to_contain_text('File "program.py", line 2, in <module>')
    expect(output(tab)).to_contain_text("NameError: name 'missing' is not defined")
    assert "exec" not in (output(tab).text_content() or "")


def test_cancel_ends_fetching_and_running(opened: Callable[..., Tab], host: PyodideHost) -> None:
    tab = opened(DRAW + "while True:\n    pass\n")
    host.kept_back = "pyodide.asm.wasm"
    press(tab)
    expect(state(tab)).to_contain_text("Fetched")
    offer(tab).get_by_role("button", name="Cancel").click()
    ends(tab, "Cancelled.")
    host.release.set()
    offer(tab).get_by_role("button", name="Run again").click()
    expect(state(tab)).to_contain_text("Running, for at most 60 s")
    offer(tab).get_by_role("button", name="Cancel").click()
    ends(tab, "Cancelled.")


def test_a_host_that_sends_something_else_or_nothing_is_named(opened: Callable[..., Tab], host: PyodideHost) -> None:
    tab = opened(DRAW)
    host.wrong = "matplotlib-1.0-py3-none-any.whl"
    press(tab)
    ends(tab, f"Pyodide could not be fetched from {host.url.split('/')[2]}")
    host.wrong, host.kept_back = "", "pyodide.asm.wasm"
    limited(tab, load_seconds=1)
    offer(tab).get_by_role("button", name="Run again").click()
    ends(tab, "Python had not started after 1 s")


def test_another_example_ends_the_run_of_the_one_before(
    opened: Callable[..., Tab], page: Page, host: PyodideHost
) -> None:
    tab = opened(DRAW + "print('first')\nwhile True:\n    pass\n")
    keep(Examples(Home(page.home).gallery), prompt=PROMPT, texts=["plt.bar(1, 2)\n"], title="The other")
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


def test_only_what_draws_is_offered_and_what_is_missing_is_named(opened: Callable[..., Tab]) -> None:
    tab = opened(
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


def test_keys_alone_run_and_cancel_it(opened: Callable[..., Tab]) -> None:
    tab = opened(DRAW + "while True:\n    pass\n")
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
    opened: Callable[..., Tab], look: dict[str, object], theme: str
) -> None:
    tab = opened(DRAW + "print('word ' * 99, 'w' * 300)\n", query=f"&__theme={theme}", **look)
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
