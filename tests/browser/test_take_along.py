"""What people take along from a completion: files, and how to use its model; what other sites see of a link; approving."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import Locator, expect
from playwright.sync_api import Page as Tab

from pipeline.core.environment import child_environment
from pipeline.core.paths import Home
from pipeline.gallery.examples import Examples
from tests.browser.conftest import DESK, field, show
from tests.browser.test_axe import violations
from tests.browser.test_gallery import open_gallery, press
from tests.browser.test_look import ON_PHONE, outside
from tests.browser.test_share import HOSTILE, MAY_COPY, copied
from tests.gallery.test_examples import keep
from tests.page import Page

pytestmark = [pytest.mark.slow, pytest.mark.browser]

OpenTab = Callable[..., Tab]
LOOKS = pytest.mark.parametrize("look", [{"viewport": DESK}, ON_PHONE], ids=["desk", "phone"])


@pytest.fixture(scope="module")
def starter_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A page whose starter model answers."""
    page = Page(tmp_path_factory.mktemp("starter") / "home")
    page.start()
    yield page
    page.kill()


def completed(tab: Tab, prompt: str) -> Locator:
    """The card of a completion of the starter model."""
    show(tab, "Generate")
    field(tab, "prompt").fill(prompt)
    tab.locator("#complete").click()
    card = tab.locator("#completion")
    expect(card.locator(".pill")).to_contain_text("Finished", timeout=180_000)
    return card


def downloaded(tab: Tab, link: Locator, folder: Path) -> Path:
    with tab.expect_download() as download:
        link.click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


@LOOKS
def test_a_completion_is_downloaded_and_its_model_used_in_python(
    starter_page: Page, open_tab: OpenTab, tmp_path: Path, look: dict[str, Any]
) -> None:
    tab = open_tab(starter_page.url, **{**look, **MAY_COPY})
    prompt = "# create some data\nx = np.random.randn(100)\n"
    card = completed(tab, prompt)
    new = card.locator(".new").first.inner_text()

    program = downloaded(tab, card.get_by_role("link", name=".py"), tmp_path)
    assert program.name == "codeparrot-completion.py"
    assert prompt in program.read_text() and new.strip()[:20] in program.read_text()
    notebook = downloaded(tab, card.get_by_role("link", name=".ipynb"), tmp_path)
    cells = json.loads(notebook.read_text())["cells"]
    assert prompt in "".join("".join(cell["source"]) for cell in cells)

    card.get_by_text("Use this model in Python").click()
    code = copied(tab, card.locator("button[data-act=code]"))
    ast.parse(code)
    answer = subprocess.run(
        [sys.executable, "-c", code],
        env={**child_environment(), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith(prompt)
    assert violations(tab) == []
    assert outside(tab) == []


def test_a_kept_example_is_downloaded_by_the_keyboard(starter_page: Page, open_tab: OpenTab, tmp_path: Path) -> None:
    kept = keep(Examples(Home(starter_page.home).gallery), title="Points", texts=["plt.scatter(x, y)\n"])
    tab = open_tab(f"{starter_page.url}/?example={kept.id}")
    link = tab.locator("#completion").get_by_role("link", name=".py")
    link.focus()
    with tab.expect_download() as download:
        tab.keyboard.press("Enter")
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    assert path.name == f"codeparrot-{kept.id}.py"
    assert f"{starter_page.url}/?example={kept.id}" in path.read_text()


class Head(HTMLParser):
    """The named contents of a page's meta tags."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.found: dict[str, list[str]] = {}
        self.feed(markup)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if tag == "meta" and (name := named.get("property") or named.get("name")):
            self.found.setdefault(name, []).append(named.get("content") or "")


def test_another_site_sees_title_text_and_image_of_a_link(starter_page: Page, open_tab: OpenTab) -> None:
    kept = keep(Examples(Home(starter_page.home).gallery), title=HOSTILE[:80], texts=[HOSTILE])
    address = f"{starter_page.url}/?example={kept.id}"
    with urlopen(Request(address, headers={"user-agent": "a site that shows links"}), timeout=120) as answer:
        head = Head(answer.read().decode()).found
    assert head["og:title"] == [HOSTILE[:80]] and HOSTILE in head["og:description"][0]
    assert head["og:url"] == [address]
    with urlopen(head["og:image"][0], timeout=120) as answer:
        assert answer.headers["content-type"] == "image/png" and answer.read(4) == b"\x89PNG"

    tab = open_tab(address)
    assert tab.locator("head > meta[property='og:title']").get_attribute("content") == HOSTILE[:80]
    assert tab.title() != "broken in"


@LOOKS
def test_the_owner_approves_an_example_and_takes_it_out_again(
    start_page: Callable[..., Page], open_tab: OpenTab, look: dict[str, Any]
) -> None:
    page = start_page(PIPELINE_GALLERY_REPO="me/gallery")  # without a token nothing is pushed
    gallery = Examples(Home(page.home).gallery)
    kept = keep(gallery, title="Points", texts=["plt.scatter(x, y)\n"])
    tab = open_gallery(open_tab, page.url, **look)
    press(tab, kept, "Approve for the dataset")
    card = tab.locator("#gallery article", has_text=kept.id)
    expect(card.locator(".marks")).to_contain_text("In the dataset")
    assert gallery.state(kept.id).is_approved
    assert violations(tab) == []
    press(tab, kept, "Take out of the dataset")
    expect(card.locator(".marks")).to_have_count(0)
    assert not gallery.state(kept.id).is_approved
