"""axe finds nothing on any tab, in either theme, on desktop and phone, with content in every card."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page as Tab
from playwright.sync_api import expect

from pipeline.core.atomic_io import append_line, readable_json, write_json
from pipeline.core.paths import Home, RunFolder
from pipeline.core.settings import Settings
from pipeline.data.report.scan_report import Report
from pipeline.gallery.examples import Examples
from pipeline.hub.publisher import Publisher
from tests.browser.conftest import DESK, field, show
from tests.browser.test_look import ON_PHONE
from tests.browser.test_prepare import hostile_report
from tests.checkpoints import write_checkpoint
from tests.gallery.test_examples import keep
from tests.homes import write_corpus, write_run
from tests.page import Page

pytestmark = [pytest.mark.slow, pytest.mark.browser]

OpenTab = Callable[..., Tab]
LOOKS = pytest.mark.parametrize("look", [{"viewport": DESK}, ON_PHONE], ids=["desk", "phone"])
THEMES = pytest.mark.parametrize("theme", ["light", "dark"])
HELD_OUT = {**Report([]).to_dict(), "scanned": 5, "kept": 2, "removed": {}, "bad_rows": {"not UTF-8": 1}, "skipped": 1}


def violations(tab: Tab) -> list[str]:
    """Each fault that axe finds in what is shown, with the first elements that have it."""
    found = Axe().run(tab).response["violations"]
    return [f"{fault['id']}: " + " | ".join(node["html"][:150] for node in fault["nodes"][:3]) for fault in found]


@pytest.fixture(scope="module")
def full_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A page whose cards all have content. Tests start nothing on it."""
    home = Home(tmp_path_factory.mktemp("full") / "home")
    write_corpus(home, "ready")
    write_json(home.corpus("ready").report, {**hostile_report(), "validation": HELD_OUT})
    write_json(home.corpus("broken").request, {"request_id": "b", "kind": "prepare", "config": {"source": "files:/x"}})
    write_json(home.corpus("broken").status, {"request_id": "b", "state": "failed", "error": "There is no file."})
    run = write_run(home, "calm-kea", age_seconds=500)
    write_checkpoint(run, 20)
    run.log.write_text("step 10\nstep 20\n")
    append_line(run.metrics, {"step": 20, "learning_rate": 1e-3, "tokens_per_second": 900})
    for step in range(0, 21, 10):
        append_line(run.samples, {"step": step, "prompt_name": "Plot", "prompt": "#", "text": "plt.plot(x, y)\n" * 3})
    write_evaluations(home, run)
    write_run(home, "sad-kea", state="failed", age_seconds=9_000, error="Loss is nan at step 20; lower it.")
    Publisher(Settings(home=home.path)).publish_once()
    gallery = Examples(home.gallery)
    for number in range(30):
        kept = keep(gallery, texts=["plt.show()\n"] * 2, title=f"Example {number}")
    gallery.pin(kept.id)
    gallery.report(kept.id, "visitor")
    page = Page(home.path)
    page.start()
    yield page
    page.kill()


def write_evaluations(home: Home, run: RunFolder) -> None:
    """Of two steps of a run, and of another model on the same files."""
    libraries = {"numpy": 0.31, "pandas": 0.22, "matplotlib": 0.4, "seaborn": 0.05, "sklearn": 0.125}
    losses = {name: 2.5 + share for name, share in libraries.items()}
    bits = {name: 0.9 + share for name, share in libraries.items()}
    read = {"digest": "f", "loss_by_library": losses, "bits_per_byte_by_library": bits}
    uid = readable_json(run.config).get("run_uid")
    for step, right in ((10, 0.1), (20, 0.25)):
        shares = {"parses": 0.8, "runs": 0.4 + right, "pass@1": right}
        tasks = {name: {"value": value, "low": value - 0.05, "high": value + 0.05} for name, value in shares.items()}
        found = {"step": step, "samples": 10, "held_out": read, "run": run.id, "run_uid": uid}
        found |= {"tasks": {"count": 180, **tasks, "pass@1_by_library": libraries}}
        home.evaluations.mkdir(exist_ok=True)
        write_json(home.evaluation(f"{step:012x}"), found)
    other = {"run": "", "run_uid": None, "repo": "huggingface-course/codeparrot-ds", "commit": "c" * 40, "step": 0}
    tasks["pass@1"] = {"value": 0.5, "low": 0.45, "high": 0.55}
    write_json(home.evaluation("cccccccccccc", "ready"), {**found, **other, "tasks": found["tasks"] | tasks})


def unfolded(tab: Tab) -> None:
    """Open every card that is folded on a phone."""
    folded = ".fold:not(.unfolded) .fold-toggle"
    tab.evaluate(
        "(folded) => document.querySelectorAll(folded).forEach((toggle) => toggle.offsetParent && toggle.click())",
        folded,
    )


def fill_data(tab: Tab) -> None:
    expect(tab.locator("#scan-progress")).to_contain_text("Scan finished")
    expect(tab.locator("#sample .code")).to_be_visible()
    tab.locator("#prepare-card").get_by_text("Advanced").click()
    tab.locator("#quality").get_by_text("Rules of quality").click()
    tab.locator("#corpora [data-job='show ready']").click()
    expect(tab.locator("#corpus-report .report-parts")).to_be_visible()
    tab.locator("#corpora [data-job='offer ready']").click()
    expect(tab.locator("#push-form")).to_be_visible()
    tab.locator("#inspect").click()
    expect(tab.locator("#inspection [data-way=join]")).to_be_visible()
    field(tab, "window").fill("seven")
    expect(tab.locator("#corpus-plan .notice")).to_be_attached()
    tab.locator("#prepare").click()
    expect(tab.locator("#prepare-answer .notice")).to_be_attached()


def fill_train(tab: Tab) -> None:
    expect(tab.locator(".pick-loss svg")).to_be_visible()
    expect(tab.locator("#story .timeline li").first).to_be_visible()
    tab.locator("#advanced").get_by_text("Advanced").click()
    expect(tab.locator("#plan .figures-table")).to_be_attached()
    expect(tab.locator("#evaluations .libraries")).to_be_visible()
    expect(tab.locator("#evaluate")).to_be_visible()


def fill_generate(tab: Tab) -> None:
    expect(tab.locator("#completion .sample-head").first).to_be_visible()
    expect(tab.locator("#permalink input")).to_be_visible()


def fill_gallery(tab: Tab) -> None:
    expect(tab.locator("#gallery article").first).to_be_visible()
    expect(tab.locator(".pager")).to_be_visible()


FILLS: dict[str, Callable[[Tab], None]] = {
    "Data": fill_data,
    "Train": fill_train,
    "Generate": fill_generate,
    "Gallery": fill_gallery,
}


@THEMES
@LOOKS
def test_axe_finds_nothing_on_any_tab(full_page: Page, open_tab: OpenTab, look: Any, theme: str) -> None:
    example = Examples(Home(full_page.home).gallery).page(1, include_hidden=True).examples[0]
    tab = open_tab(f"{full_page.url}/?__theme={theme}&example={example.id}", **look)
    expect(tab.locator("#completion .sample-head").first).to_be_visible()
    found = {}
    for name, fill in FILLS.items():
        show(tab, name)
        unfolded(tab)
        fill(tab)
        if faults := violations(tab):
            found[name] = faults
    assert found == {}
    tab.evaluate("document.querySelector('#gallery').insertAdjacentHTML('beforeend', '<h5>x</h5><dl><p>y</p></dl>')")
    assert {fault.split(":")[0] for fault in violations(tab)} == {"heading-order", "definition-list"}, "control"


@THEMES
@LOOKS
def test_axe_finds_nothing_where_the_owners_key_is_asked_for(
    tmp_path: Path, open_tab: OpenTab, look: Any, theme: str
) -> None:
    page = Page(tmp_path / "home", GRADIO_SERVER_NAME="0.0.0.0", PIPELINE_OWNER_KEY="open sesame open sesame")
    page.start()
    try:
        tab = open_tab(f"{page.url}/?__theme={theme}", **look)
        show(tab, "Train")
        field(tab, "owner-key").fill("open barley")
        tab.locator("#unlock").click()
        expect(field(tab, "owner-key")).to_have_attribute("aria-invalid", "true")
        expect(tab.locator("#access-notice")).to_contain_text("not the owner's key")
        assert violations(tab) == []
    finally:
        page.kill()
