"""The whole workflow on the page with real data: scan, prepare, train, watch, stop, generate, keep, reopen."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page as Tab
from playwright.sync_api import expect

from pipeline.core.paths import Home
from pipeline.jobs import views
from pipeline.jobs.run_pushes import latest_pushes
from tests.browser.conftest import field, show, wait_for
from tests.page import Page

pytestmark = [pytest.mark.slow, pytest.mark.browser]

OpenTab = Callable[..., Tab]


def test_scan_prepare_train_stop_generate_keep_and_reopen(start_page: Callable[..., Page], open_tab: OpenTab) -> None:
    page = start_page()
    home = Home(page.home)
    tab = open_tab(page.url)

    # ---- scan: real files, scanned when the page opens ----
    expect(tab.locator("#sample .code li").first).to_be_visible()
    expect(tab.locator("#scan-progress")).to_contain_text("Scan finished")
    rate = tab.locator("#hits tr[data-keyword=pandas] td").nth(2).inner_text()
    assert 0 < float(rate.removesuffix("%")) < 100
    expect(tab.locator("#scan-figures")).to_contain_text("3.26 %")
    first = tab.locator("#sample .file-name").inner_text()
    tab.get_by_role("button", name="Next", exact=True).click()
    expect(tab.locator("#sample .file-name")).not_to_have_text(first)
    assert tab.locator("#sample mark").count() >= 1

    # ---- prepare: a small corpus, in its own process ----
    field(tab, "corpus-name").fill("small")
    tab.locator(".form-card", has=tab.locator("#prepare")).get_by_text("Advanced").click()
    field(tab, "max-files").fill("60")
    show(tab, "Train")
    expect(tab.locator("#plan")).to_contain_text("once prepared")
    show(tab, "Data")
    tab.locator("#prepare").click()
    expect(tab.locator("#corpora tr[data-corpus=small] .pill")).to_have_text(re.compile("Finished"), timeout=400_000)

    # ---- train: Start pressed twice starts one run ----
    show(tab, "Train")
    expect(field(tab, "corpus")).to_have_value(re.compile("small"))
    field(tab, "max-steps").fill("2000")
    tab.locator("#advanced").get_by_text("Advanced").click()
    field(tab, "batch-size").fill("4")
    field(tab, "eval-every-steps").fill("10")
    field(tab, "checkpoint-every-steps").fill("40")
    expect(tab.locator("#plan")).to_contain_text("2,000")
    expect(tab.locator("#plan")).not_to_contain_text("once prepared")
    tab.locator("#start").dblclick()
    wait_for(tab, "the run trains", lambda: state_of(tab) == "running")
    run = run_of(tab)
    assert [view.run for view in views.run_views(home)] == [run]

    # ---- watch: the plots gain points ----
    wait_for(tab, "the loss is drawn", lambda: num_points(tab, "loss") >= 2)
    before = num_points(tab, "loss")
    wait_for(tab, "the loss gains points", lambda: num_points(tab, "loss") > before)
    assert num_points(tab, "perplexity") >= 2
    expect(tab.locator("#pushes tbody tr").first).to_be_visible()
    expect(tab.locator("#story .timeline li").first).to_be_visible()

    # ---- reload, and a second browser: the same run ----
    step = step_of(tab)
    tab.reload()
    wait_for(tab, "the reloaded page shows the run", lambda: run_of(tab) == run and step_of(tab) >= step)
    other = open_tab(page.url)
    show(other, "Train")
    wait_for(other, "the second browser shows the run", lambda: run_of(other) == run)
    wait_for(other, "its plot is there", lambda: num_points(other, "loss") >= 2)

    # ---- the page is killed: the run continues, and the restarted page shows it ----
    page.kill()
    step = views.run_view(home, run).step
    wait_for(tab, "the run continues without a page", lambda: views.run_view(home, run).step > step + 2)
    page.start()
    tab = open_tab(page.url)
    show(tab, "Train")
    wait_for(tab, "the restarted page shows the run", lambda: run_of(tab) == run and state_of(tab) == "running")

    # ---- stop ----
    tab.locator("#stop").click()
    wait_for(tab, "the run stops", lambda: state_of(tab) == "stopped")
    expect(tab.locator("#resume")).to_be_visible()

    # ---- generate ----
    show(tab, "Generate")
    tab.locator("#prompts button", has_text="Data frame").click()
    expect(field(tab, "prompt")).to_have_value(re.compile("create dataframe from x and y\n$"))
    tab.locator("#complete").click()
    expect(tab.locator("#completion .pill")).to_have_text(re.compile("Finished"), timeout=400_000)
    newest = latest_pushes(home.run(run))[0]
    expect(tab.locator("#completion .written")).to_contain_text(newest["revision"])
    expect(tab.locator("#completion .written")).to_contain_text(f"step {newest['step']:,}")
    text = tab.locator("#completion pre.new").inner_text()
    assert text.strip()

    # ---- keep it, and open its link in a new browser after a restart of the page ----
    field(tab, "example-title").fill("A frame <b>of two</b> columns")
    tab.locator("#keep").click()
    link = tab.locator("#permalink input").input_value()
    assert re.fullmatch(rf"{page.url}/\?example=[a-z0-9]{{8}}", link)
    page.kill()
    page.start()
    fresh = open_tab(link)
    expect(fresh.locator("#completion .pill")).to_have_text(re.compile("Kept example"))
    expect(fresh.locator("#completion .example-title")).to_have_text("A frame <b>of two</b> columns")
    assert fresh.locator("#completion pre.new").inner_text() == text
    expect(fresh.locator("#completion .written")).to_contain_text(newest["revision"])
    expect(field(fresh, "prompt")).to_have_value(re.compile("create dataframe from x and y\n$"))
    show(fresh, "Gallery")
    expect(fresh.locator("#gallery article h3")).to_have_text("A frame <b>of two</b> columns")


def state_of(tab: Tab) -> str | None:
    return tab.locator(".strip").get_attribute("data-state")


def run_of(tab: Tab) -> str | None:
    return tab.locator(".strip").get_attribute("data-run")


def step_of(tab: Tab) -> int:
    return int(tab.locator(".strip").get_attribute("data-step") or 0)


def num_points(tab: Tab, chart: str) -> int:
    """Vertices of the longest line in a chart."""
    paths = tab.locator(f".pick-{chart} svg .line").evaluate_all("paths => paths.map(p => p.getAttribute('d'))")
    return max((len(re.findall("[ML]", path or "")) for path in paths), default=0)
