"""Fixtures for a real Chromium on the real page: `python app.py` with a home folder of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, expect, sync_playwright
from playwright.sync_api import Page as Tab

from pipeline.core.atomic_io import append_line
from pipeline.core.paths import Home
from pipeline.core.settings import Settings
from pipeline.gallery.examples import Examples
from pipeline.hub.publisher import Publisher
from tests import chromium, pyodide
from tests.browser.pyodide_host import PyodideHost
from tests.checkpoints import write_checkpoint
from tests.gallery.test_examples import keep
from tests.homes import end_jobs, write_corpus, write_run
from tests.page import Page

DESK = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}


expect.set_options(timeout=180_000)  # a loaded machine is slow; that is no failure


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Closed at the end of the package: while it runs, no later test can start an event loop."""
    path = chromium.find()
    assert path is not None, f"No browser was found. {chromium.REMEDY}"
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def open_tab(browser: Browser) -> Iterator[Callable[..., Tab]]:
    """Opens an address in a new browser context. Uncaught errors of the page fail the test."""
    contexts, errors = [], []

    def open_address(url: str, **look: Any) -> Tab:
        # Without a GPU, Chromium redraws the page for each frame of an animation: half a core for a pulsing dot.
        context = browser.new_context(**{"viewport": DESK, "reduced_motion": "reduce", **look})
        contexts.append(context)
        tab = context.new_page()
        tab.on("pageerror", lambda error: errors.append(str(error)))
        tab.set_default_timeout(180_000)
        tab.goto(url)
        tab.wait_for_selector("#tabs [role=tab]")
        return tab

    yield open_address
    for context in contexts:
        context.close()
    assert errors == []


@pytest.fixture(scope="session")
def finished_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A page with a corpus, a finished and a failed run; tests start nothing on it."""
    home = Home(tmp_path_factory.mktemp("finished") / "home")
    write_corpus(home, "ready")
    run = write_run(home, "calm-kea", age_seconds=500)
    write_checkpoint(run, 20)
    for step in range(0, 21, 10):
        row = {"step": step, "prompt_name": "Scatter plot", "prompt": "#", "text": "plt.plot(x, y)\n" * 3}
        append_line(run.samples, row)
    write_run(home, "sad-kea", state="failed", age_seconds=9_000, error="Loss is nan at step 20; lower it.")
    Publisher(Settings(home=home.path)).publish_once()
    page = Page(home.path)
    page.start()
    yield page
    page.kill()


@pytest.fixture
def start_page(tmp_path: Path) -> Iterator[Callable[..., Page]]:
    """Starts the page on an empty home; all its jobs are killed after the test."""
    pages: list[Page] = []

    def start(**environment: str) -> Page:
        pages.append(Page(tmp_path / "home", **environment))
        pages[-1].start()
        return pages[-1]

    yield start
    for page in pages:
        page.kill()
    end_jobs(Home(tmp_path / "home"))


@pytest.fixture(scope="session")
def pyodide_host() -> Iterator[PyodideHost]:
    """Serves the interpreter that a browser runs programs with."""
    folder = pyodide.find()
    if folder is None:
        pytest.skip(f"The interpreter of the npm package is not here. {pyodide.REMEDY}")
    host = PyodideHost(folder)
    yield host
    host.close()


@pytest.fixture(scope="session")
def seeing_page(pyodide_host: PyodideHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A page whose visitors get Pyodide from `pyodide_host`."""
    page = Page(tmp_path_factory.mktemp("see") / "home", PIPELINE_PYODIDE_URL=pyodide_host.url)
    page.start()
    yield page
    page.kill()


@pytest.fixture
def open_example(seeing_page: Page, pyodide_host: PyodideHost, open_tab: Callable[..., Tab]) -> Callable[..., Tab]:
    """Opens the page with a kept example of these completions."""
    pyodide_host.reset()

    def opened(*texts: str, prompt: str = "import matplotlib.pyplot as plt\n", query: str = "", **look: Any) -> Tab:
        kept = keep(Examples(Home(seeing_page.home).gallery), prompt=prompt, texts=list(texts))
        tab = open_tab(f"{seeing_page.url}/?example={kept.id}{query}", **look)
        show(tab, "Generate")
        expect(tab.locator("#completion .written-code").first).to_be_visible()
        return tab

    return opened


@pytest.fixture
def known_code(tmp_path: Path) -> Path:
    """50 files: 10 import pandas, 10 mention it, 10 import geopandas with seaborn in a long line 600, 20 have none."""
    folder = tmp_path / "known-code"
    folder.mkdir()
    far_down = "import geopandas\n" + "x = 1\n" * 598 + f"y = seaborn({'1 + ' * 100}1)\n"
    for number in range(10):
        (folder / f"a{number}.py").write_text(f"import pandas as pd\nimport numpy\n# {number}\n")
        (folder / f"b{number}.py").write_text(f"# as in pandas\nimport numpy\n# {number}\n")
        (folder / f"c{number}.py").write_text(far_down)
        (folder / f"d{number}.py").write_text("x = 1\n")
        (folder / f"e{number}.py").write_text("y = 2\n")
    return folder


def show(tab: Tab, name: str) -> None:
    """Select one of the four tabs."""
    tab.locator("#tabs > .tab-wrapper .tab-container:not(.visually-hidden) [role=tab]", has_text=name).click()


def field(tab: Tab, elem_id: str) -> Locator:
    """The text field inside the component with this id."""
    return tab.locator(f"#{elem_id}").locator("input, textarea").first


def scan_folder(tab: Tab, folder: Path) -> None:
    """Scan `folder` on the Data tab, and wait for the end of the scan."""
    tab.get_by_test_id("Files-radio-label").click()
    tab.get_by_label("File, glob or folder").fill(str(folder))
    tab.locator("#scan").click()
    expect(tab.locator("#largest")).to_contain_text(folder.name)
    expect(tab.locator("#scan-progress")).to_contain_text("Scan finished")


def add_keyword(tab: Tab, keyword: str) -> None:
    tab.locator("#keywords input").fill(keyword)
    tab.locator("#keywords input").press("Enter")


def remove_keyword(tab: Tab, keyword: str) -> None:
    tab.locator("#keywords .token", has_text=keyword).locator(".token-remove").click()


def choose_filter(tab: Tab, keyword: str) -> None:
    """Show only kept files that contain `keyword`."""
    tab.locator("#filter input").click()
    tab.get_by_role("option", name=keyword).click()


def wait_for(tab: Tab, what: str, holds: Callable[[], bool], seconds: float = 240) -> None:
    """Poll until `holds()` is true."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"{what}: not within {seconds:.0f} s"
        tab.wait_for_timeout(100)
