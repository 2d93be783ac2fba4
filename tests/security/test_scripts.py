"""Script payloads through every input of the page, in a real Chromium: they are shown as text, and nothing runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Locator, expect
from playwright.sync_api import Page as Tab

from pipeline.core.atomic_io import append_line, read_json, write_json
from pipeline.core.paths import Home
from pipeline.gallery.examples import Examples
from tests.browser.conftest import field as field_of
from tests.browser.conftest import show
from tests.data.dataset_hub import DatasetHub
from tests.faults.shares import shares
from tests.gallery.test_examples import keep
from tests.homes import write_run
from tests.security.conftest import Figures, Weaken
from tests.security.payloads import PAYLOADS
from tests.security.public import OWNER_KEY, PublicPage

pytestmark = [pytest.mark.slow, pytest.mark.browser]

DATASET = "me/scripts"
TITLE_CHARACTERS = 80
DEADLY = PAYLOADS[1]
"""It runs wherever it is treated as HTML."""


@dataclass
class Visit:
    """One tab, and the traces that a payload would leave in it."""

    tab: Tab
    own: str
    dialogs: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tab.on("dialog", self._dialog)
        self.tab.on("request", lambda request: self._requested(request.url))

    def _dialog(self, dialog: Any) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    def _requested(self, url: str) -> None:
        if not url.startswith((self.own, "data:", "blob:", "about:")):
            self.elsewhere.append(url)

    def has_run(self) -> bool:
        """Whether a payload has set `window.pwned` to 1; before that, the name refers to its element."""
        return bool(self.tab.evaluate("window.pwned === 1")) or bool(self.dialogs)

    def num_elements(self) -> int:
        """Number of elements that a payload has created."""
        return self.tab.locator("[id=pwned], [onerror], [onload], [onfocus], [onmouseover]").count()

    def check(self, where: str) -> None:
        self.tab.wait_for_timeout(100)
        assert (self.has_run(), self.num_elements(), self.elsewhere) == (False, 0, []), where


Open = Callable[..., Visit]


@pytest.fixture
def visit(browser: Browser) -> Iterator[Open]:
    contexts = []

    def opened(page: PublicPage, query: str = "", **headers: str) -> Visit:
        contexts.append(browser.new_context(viewport={"width": 1280, "height": 800}, extra_http_headers=headers))
        found = Visit(contexts[-1].new_page(), page.url)
        found.tab.set_default_timeout(180_000)
        found.tab.goto(page.url + query)
        found.tab.wait_for_selector("#tabs [role=tab]")
        return found

    yield opened
    for context in contexts:
        context.close()


def dataset() -> dict[str, bytes]:
    rows = [
        {"repo_name": text, "path": text, "content": f"pandas {text}", "license": text, "copies": text, "size": text}
        for text in PAYLOADS
    ]
    return {
        "rows.jsonl": "".join(json.dumps(row) + "\n" for row in rows).encode(),
        f"{DEADLY}.jsonl": b"no json\n",
        "bad.jsonl": b'{"content": null}\n{"content": 7}\n',
    }


def fill(page: PublicPage) -> None:
    """Write what strangers, datasets and older versions may have left on disk, with payloads as texts."""
    home, gallery = Home(page.home), Examples(Home(page.home).gallery)
    for text in PAYLOADS:
        keep(
            gallery,
            title=text[:TITLE_CHARACTERS],
            prompt=text,
            texts=[text],
            settings={"temperature": text, text[:40]: 1},
        )
    run = write_run(home, "loud-kea", state="failed", error=DEADLY, message=DEADLY)
    write_json(run.request, {**(read_json(run.request) or {}), "preset": DEADLY, "recipe": DEADLY})
    for step, text in enumerate(PAYLOADS):
        append_line(run.samples, {"step": step, "prompt_name": text, "prompt": text, "text": text})
    run.log.write_text("\n".join(PAYLOADS))
    corpus = home.corpus("ready")
    manifest = read_json(corpus.manifest) or {}
    write_json(corpus.manifest, {**manifest, "config": {"source": f"hub:{DEADLY}", "keywords": list(PAYLOADS)}})
    for name in (DEADLY[:40].replace("/", ""), "x' onclick=1 y='"):
        (home.path / "corpora" / name).mkdir(parents=True)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PublicPage]:
    with DatasetHub({DATASET: dataset()}) as hub:
        names = {"HF_ENDPOINT": hub.endpoint, "PIPELINE_PUBLIC_DATASETS": DATASET}
        page = PublicPage(tmp_path_factory.mktemp("filled"), **names)
        fill(page)
        page.start()
        yield page
        page.kill()


def text_field(found: Locator) -> Locator:
    return found.locator("input, textarea").first


@pytest.mark.parametrize("key", ["", OWNER_KEY], ids=["visitor", "owner"])
def test_what_lies_on_disk_is_shown_as_text(filled: PublicPage, visit: Open, key: str) -> None:
    seen = visit(filled, **({"x-owner-key": key} if key else {}))
    for name in ("Train", "Generate", "Gallery"):
        show(seen.tab, name)
        seen.check(name)
    for _ in range(len(PAYLOADS) // 24):
        expect(seen.tab.locator("#gallery article").first).to_be_visible()
        seen.check("gallery")
        seen.tab.locator(".pager").get_by_role("button", name="Next").click()
        seen.tab.wait_for_timeout(500)
    seen.tab.locator("#gallery article").first.get_by_role("button", name="Open", exact=True).click()
    expect(seen.tab.locator("#completion")).to_contain_text("pwned")
    seen.check("completion")


def test_rows_of_a_dataset_are_shown_as_text(filled: PublicPage, visit: Open) -> None:
    seen = visit(filled)
    seen.tab.get_by_test_id("Hub-radio-label").click()
    repo = seen.tab.get_by_label("Dataset on the Hub")
    repo.fill(DATASET)
    repo.press("Enter")
    seen.tab.locator("#scan").click()
    expect(seen.tab.locator("#scan-progress")).to_contain_text("Scan finished")
    expect(seen.tab.locator("#largest")).to_contain_text("pwned")
    expect(seen.tab.locator("#bad-rows")).to_contain_text("not JSON")
    for _ in range(len(PAYLOADS)):
        seen.check("sample")
        seen.tab.locator("#samples").get_by_role("button", name="Next").click()
        seen.tab.wait_for_timeout(50)


@shares("payloads", PAYLOADS[:3], PAYLOADS, pytest.mark.security)
def test_what_is_typed_is_shown_as_text(
    filled: PublicPage, visit: Open, payloads: tuple[str, ...], figures: Figures
) -> None:
    seen = visit(filled)
    for text in payloads:
        for elem_id, tab, button in (("keywords", "Data", "scan"), ("example-title", "Generate", "keep")):
            show(seen.tab, tab)
            field_of(seen.tab, elem_id).fill(text[:TITLE_CHARACTERS])
            field_of(seen.tab, elem_id).press("Enter")
            seen.tab.locator(f"#{button}").click()
            seen.check(elem_id)
        show(seen.tab, "Generate")
        seen.tab.locator("textarea").filter(visible=True).first.fill(text)
        seen.tab.locator("#complete").click()
        seen.check("prompt")
    figures(payloads=len(payloads), ran=seen.has_run(), elements=seen.num_elements(), elsewhere=len(seen.elsewhere))


@shares("payloads", PAYLOADS[:3], PAYLOADS, pytest.mark.security)
def test_what_a_url_contains_is_shown_as_text(filled: PublicPage, visit: Open, payloads: tuple[str, ...]) -> None:
    for text in payloads:
        seen = visit(filled, f"/?example={quote(text)}&{quote(text)}={quote(text)}&__theme={quote(text)}#{quote(text)}")
        expect(seen.tab.locator("#completion .notice")).to_contain_text("There is no example")
        seen.check(text)
        seen.tab.context.close()  # an open page refreshes every second


def gallery_of(page: PublicPage, visit: Open) -> Visit:
    seen = visit(page)
    show(seen.tab, "Gallery")
    expect(seen.tab.locator("#gallery article").first).to_be_visible()
    seen.tab.wait_for_function("document.querySelector('#gallery [id=pwned]')")
    seen.tab.wait_for_timeout(1_000)
    return seen


def test_control_where_escaping_is_broken_the_policy_stops_scripts(weaken: Weaken, visit: Open) -> None:
    page = weaken("escaping")
    for text in PAYLOADS[:8]:
        keep(Examples(Home(page.home).gallery), title=text[:TITLE_CHARACTERS])
    seen = gallery_of(page, visit)
    assert seen.num_elements() > 0
    assert not seen.has_run()


def test_control_where_the_policy_is_gone_too_the_script_runs(weaken: Weaken, visit: Open) -> None:
    page = weaken("escaping and policy")
    keep(Examples(Home(page.home).gallery), title=DEADLY)
    assert gallery_of(page, visit).has_run()
