"""Programs that attack the page, the network or the visitor's browser: none gets out of its frame or past its limits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page as Tab
from playwright.sync_api import expect

from pipeline.core.paths import Home
from pipeline.gallery.examples import Examples
from tests.browser.pyodide_host import PyodideHost
from tests.browser.seeing import DRAW, PROMPT, ends, limited, offer, output, press, sandbox, state
from tests.gallery.test_examples import keep
from tests.page import Page

pytestmark = [pytest.mark.slow, pytest.mark.browser]

OpenTab = Callable[..., Tab]


def test_the_frame_has_nothing_of_our_origin(
    open_example: Callable[..., Tab], pyodide_host: PyodideHost, seeing_page: Page
) -> None:
    tab = open_example(DRAW)
    pyodide_host.kept_back = "pyodide.asm.wasm"
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
    assert frame.evaluate(refused, f"{seeing_page.url}/studio/who") == "TypeError"
    assert frame.evaluate(refused, pyodide_host.url.replace("/full/", "/other/")) == "TypeError", (
        "another folder of the host"
    )
    assert frame.evaluate(refused, f"{pyodide_host.url}pyodide-lock.json") == "answered", "control"
    pyodide_host.release.set()
    ends(tab, "Finished: one plot.")


def test_the_document_of_the_frame_is_without_our_origin_also_by_its_address(
    seeing_page: Page, open_tab: OpenTab
) -> None:
    tab = open_tab(seeing_page.url)
    tab.goto(f"{seeing_page.url}/studio/see")
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
    pyodide_host: PyodideHost, tmp_path: Path, open_tab: OpenTab, is_closed: bool
) -> None:
    """With all names left in the worker. In the control frame.js does not close the network."""
    pyodide_host.reset()
    page = Page(tmp_path / "home", PIPELINE_PYODIDE_URL=pyodide_host.url)
    page.command = ("-m", "tests.browser.weak_frame", *([] if is_closed else ["open"]))
    page.start()
    try:
        leak = LEAK.replace("PAGE", page.url).replace("HOST", pyodide_host.url)
        kept = keep(Examples(Home(page.home).gallery), prompt=PROMPT, texts=[DRAW + leak])
        tab = open_tab(f"{page.url}/?example={kept.id}")
        press(tab)
        ends(tab, "Finished: one plot.")
        written = (output(tab).text_content() or "").splitlines()
        assert written == ["page refused", "host refused" if is_closed else "host 404"]
        assert [name for name in pyodide_host.files if name == "leak"] == ([] if is_closed else ["leak"])
    finally:
        page.kill()


def test_a_program_finds_no_way_to_the_page_and_no_way_out(open_example: Callable[..., Tab], seeing_page: Page) -> None:
    asked = "parent document window localStorage cookieStore fetch XMLHttpRequest WebSocket importScripts Worker indexedDB".split()
    tab = open_example(
        DRAW
        + f"js = __import__('js')\nimport json\nfound = [name for name in {asked!r} if hasattr(js, name)]\nprint(json.dumps(found))\n"
        + "try:\n    js.eval('1')\nexcept BaseException as error:\n    print('no eval')\n"
        + f"try:\n    import urllib.request\n    urllib.request.urlopen('{seeing_page.url}/studio/who')\n"
        + "except BaseException as error:\n    print('no urllib')\n"
    )
    press(tab)
    ends(tab, "Finished: one plot.")
    assert output(tab).inner_text().split("\n")[:3] == ["[]", "no eval", "no urllib"]


def test_an_endless_program_is_ended_at_the_limit(open_example: Callable[..., Tab]) -> None:
    tab = open_example(DRAW + "print('begun', flush=True)\nwhile True:\n    pass\n")
    limited(tab, run_seconds=2)
    press(tab)
    ends(tab, "Ended by the time limit: it was still running after 2 s.")
    expect(output(tab)).to_have_text("begun\n")
    expect(offer(tab).get_by_role("button", name="Run again")).to_be_visible()


def test_100_mb_of_output_are_cut_and_html_in_it_is_text(open_example: Callable[..., Tab]) -> None:
    attack = "<img src=x onerror='window.pwned=1'><script>window.pwned=1</script>"
    tab = open_example(DRAW + f"print({attack!r})\nfor _ in range(100):\n    print('x' * 10**6)\n")
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


def test_what_is_no_png_image_is_not_shown(open_example: Callable[..., Tab]) -> None:
    """SVG; HTML behind the signature of PNG; 60,000 x 60,000 pixels. The fourth is a plot."""
    tab = open_example(DRAW + NO_PNG)
    press(tab)
    ends(tab, "It gave a plot that is no PNG image of a permitted size")
    expect(offer(tab).locator(".see-plots *")).to_have_count(1)
    assert offer(tab).locator(".see-plots img").get_attribute("alt") == "Plot 1 of this program"
    assert not tab.evaluate("'pwned' in window")


FORGED = {
    "another type": "{'type': 'navigate', 'url': 'https://evil.example/'}",
    "a result with text": "{'type': 'result', 'plots': ['<b>'], 'failed': False, 'isCut': False}",
    "one that comes once, again": "{'type': 'running'}",
    "a known type with more": "{'type': 'output', 'text': 'x', 'more': [1]}",
    "a type that is no text": "{'type': ['output'], 'text': 'x'}",
}


@pytest.mark.parametrize("message", FORGED.values(), ids=FORGED)
def test_a_forged_message_of_a_program_ends_it(open_example: Callable[..., Tab], message: str) -> None:
    tab = open_example(
        DRAW
        + "js, to_js = __import__('js'), __import__('pyodide.ffi').ffi.to_js\n"
        + f"js.postMessage(to_js({message}, dict_converter=js.Object.fromEntries))\nwhile True:\n    pass\n"
    )
    press(tab)
    ends(tab, "it sent messages that are neither text nor plots")
    assert offer(tab).locator(".see-plots *").count() == 0


def test_output_is_limited_over_all_messages(open_example: Callable[..., Tab]) -> None:
    tab = open_example(
        DRAW
        + "js, to_js = __import__('js'), __import__('pyodide.ffi').ffi.to_js\n"
        + "more = to_js({'type': 'output', 'text': 'x' * 15_000}, dict_converter=js.Object.fromEntries)\n"
        + "js.postMessage(more)\njs.postMessage(more)\nwhile True:\n    pass\n"
    )
    press(tab)
    ends(tab, "it sent messages that are neither text nor plots")
    assert len(output(tab).text_content() or "") == 15_000


HUGE = """
js, to_js = __import__('js'), __import__('pyodide.ffi').ffi.to_js
more = to_js([{'a': n} for n in range(100_000)], dict_converter=js.Object.fromEntries)
huge = js.Object.fromEntries(to_js([['type', 'TYPE'], ['text', '']]))
huge.more = more
for _ in range(40):
    js.postMessage(huge)
while True:
    pass
"""
WATCH = """() => {
    let last = performance.now();
    window.longest = 0;
    setInterval(() => {
        longest = Math.max(longest, performance.now() - last);
        last = performance.now();
    }, 20);
}"""


@pytest.mark.parametrize("kind", ["running", "output", "other"])
def test_huge_messages_do_not_keep_the_page_waiting(open_example: Callable[..., Tab], kind: str) -> None:
    tab = open_example(DRAW + HUGE.replace("TYPE", kind))
    limited(tab, run_seconds=20)
    tab.evaluate(WATCH)
    press(tab)
    ends(tab, "it sent messages that are neither text nor plots")
    tab.wait_for_timeout(1_000)
    assert tab.evaluate("longest") < 1_500


READS = """source => {
    let reads = 0;
    const event = new MessageEvent('message', { source: source === 'frame' ? frame : window });
    Object.defineProperty(event, 'data', { get() { reads += 1; return null; } });
    dispatchEvent(event);
    return reads;
}"""


def test_only_messages_of_the_frame_of_the_run_are_read(
    open_example: Callable[..., Tab], pyodide_host: PyodideHost
) -> None:
    """To read `data` is to build the message from its bytes. Many may wait when a run ends."""
    tab = open_example(DRAW)
    pyodide_host.kept_back = "pyodide.asm.wasm"
    press(tab)
    sandbox(tab)
    expect(state(tab)).to_contain_text("Fetched")
    tab.evaluate("() => { window.frame = document.querySelector('iframe').contentWindow; }")
    by_others = tab.evaluate(READS, "page")  # Gradio's own listeners
    assert tab.evaluate(READS, "frame") == by_others + 1
    offer(tab).get_by_role("button", name="Cancel").click()
    ends(tab, "Cancelled.")
    assert tab.evaluate(READS, "frame") == by_others
    pyodide_host.release.set()


def test_a_message_that_is_not_from_the_frame_is_ignored(
    open_example: Callable[..., Tab], pyodide_host: PyodideHost
) -> None:
    tab = open_example(DRAW)
    pyodide_host.kept_back = "pyodide.asm.wasm"
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
    pyodide_host.release.set()
    ends(tab, "Finished: one plot.")


def test_a_program_that_takes_all_memory_or_exits_gets_its_answer(open_example: Callable[..., Tab]) -> None:
    tab = open_example(
        DRAW
        + "try:\n    bytearray(2 * 10**9)\nexcept MemoryError:\n    print('no memory')\n"
        + "def broken():\n    raise SystemExit(3)\nbroken()\n"
    )
    press(tab)
    ends(tab, "Finished: one plot.")
    expect(output(tab)).to_have_text("no memory\n")
