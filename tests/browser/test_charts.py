"""Charts in a browser: the tooltip by mouse, finger and keyboard, the logarithmic axis, and that nothing on the tab moves
when an evaluation arrives.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, expect
from playwright.sync_api import Page as Tab

from pipeline.core.atomic_io import append_line, locked, write_json
from pipeline.core.paths import Home, RunFolder
from tests.browser.conftest import DESK, show
from tests.browser.test_axe import violations
from tests.browser.test_look import ON_PHONE
from tests.homes import write_corpus, write_run
from tests.page import Page

pytestmark = [pytest.mark.slow, pytest.mark.browser]

OpenTab = Callable[..., Tab]
LOOKS = pytest.mark.parametrize("look", [{"viewport": DESK}, ON_PHONE], ids=["desk", "phone"])


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[RunFolder]:
    """A run that trains, as far as a page sees: validation perplexities of 4,000, 400 and 40 at steps 0, 100 and 200."""
    home = Home(tmp_path / "home")
    write_corpus(home, "ready")
    folder = write_run(home, "calm-kea", state="running")
    folder.metrics.unlink()
    for step in range(0, 201, 10):
        loss = math.log(4_000) - math.log(10) * step / 100
        row = {"step": step, "train_loss": loss - 0.5, "tokens_per_second": 900 + step}
        append_line(folder.metrics, row | ({"eval_loss": loss} if step % 100 == 0 else {}))
    write_sample(folder, 0)
    with locked(folder.lock):
        yield folder


@pytest.fixture
def tab(folder: RunFolder, tmp_path: Path, open_tab: OpenTab, request: pytest.FixtureRequest) -> Iterator[Tab]:
    page = Page(tmp_path / "home")
    page.start()
    tab = open_tab(page.url, **getattr(request, "param", {}))
    show(tab, "Train")
    expect(tab.locator(".pick-loss .plot svg")).to_be_visible()
    yield tab
    page.kill()


def write_sample(folder: RunFolder, step: int) -> None:
    row = {"step": step, "prompt_name": "Plot", "prompt": "#", "text": "plt.plot(x, y)\n" * (3 + step)}
    append_line(folder.samples, row)


def at_step(plot: Locator, step: int, last: int) -> tuple[float, float]:
    """A point of the page above the chart's place of `step`."""
    box = plot.locator(".plot-area").bounding_box()
    assert box is not None
    return box["x"] + box["width"] * step / last, box["y"] + box["height"] / 2


def expect_tip(plot: Locator, step: str, *values: str) -> None:
    expect(plot.locator(".tip")).to_be_visible()
    expect(plot.locator(".tip-step")).to_have_text(f"step {step}")
    expect(plot.locator(".tip .series:visible")).to_have_text(list(values))


def test_the_mouse_shows_the_values_of_all_series_at_a_step_and_leaving_hides_them(tab: Tab) -> None:
    plot = tab.locator(".pick-perplexity .plot")
    expect(plot.locator(".tip")).to_be_hidden()
    tab.mouse.move(*at_step(plot, 100, 200))
    expect_tip(plot, "100", "train 243", "validation 400")
    tab.mouse.move(*at_step(plot, 149, 200))
    expect_tip(plot, "150", "train 76.7", "validation 400")
    line, area = plot.locator(".tip-line").bounding_box(), plot.locator(".plot-area").bounding_box()
    assert line is not None and area is not None
    assert line["x"] + line["width"] / 2 == pytest.approx(area["x"] + area["width"] * 0.75, abs=1.5)
    # rgba would let the lines through
    expect(plot.locator(".tip-box")).to_have_css("background-color", re.compile(r"^rgb\("))
    box = plot.locator(".tip-box").bounding_box()
    assert box is not None and box["x"] >= area["x"] and box["x"] + box["width"] <= area["x"] + area["width"]
    tab.mouse.move(*at_step(tab.locator(".pick-speed .plot"), 200, 200))
    expect(plot.locator(".tip")).to_be_hidden()
    expect_tip(tab.locator(".pick-speed .plot"), "200", "tokens/s 1,100")
    tab.mouse.move(1, 1)
    expect(tab.locator(".tip:visible")).to_have_count(0)


@pytest.mark.parametrize("tab", [ON_PHONE], indirect=True)
def test_a_tap_shows_the_values_and_a_tap_elsewhere_hides_them(tab: Tab) -> None:
    plot = tab.locator(".pick-loss .plot")
    tab.touchscreen.tap(*at_step(plot, 100, 200))
    expect_tip(plot, "100", "train 5.491", "validation 5.991")
    tab.touchscreen.tap(200, 120)
    expect(plot.locator(".tip")).to_be_hidden()


def test_the_arrow_keys_move_between_steps_and_escape_hides_the_values(tab: Tab) -> None:
    plot = tab.get_by_role("img", name="Loss up to step 200: train 3.189, validation 3.689")
    plot.focus()
    for key, step, values in (
        ("ArrowLeft", "200", ("train 3.189", "validation 3.689")),
        ("ArrowLeft", "190", ("train 3.419", "validation 5.991")),
        ("ArrowRight", "200", ("train 3.189", "validation 3.689")),
        ("ArrowRight", "200", ("train 3.189", "validation 3.689")),
        ("Home", "0", ("train 7.794", "validation 8.294")),
    ):
        tab.keyboard.press(key)
        expect_tip(plot, step, *values)
        spoken = tab.locator(".pick-loss .unseen[aria-live]")
        expect(spoken).to_have_text(", ".join((f"step {step}", *values)))
    tab.mouse.move(1, 1)
    expect(plot.locator(".tip")).to_be_visible()  # the mouse did not show them
    assert violations(tab) == []
    tab.keyboard.press("Escape")
    expect(plot.locator(".tip")).to_be_hidden()
    tab.keyboard.press("ArrowRight")
    expect_tip(plot, "0", "train 7.794", "validation 8.294")
    tab.keyboard.press("Tab")
    expect(plot.locator(".tip")).to_be_hidden()


def test_the_values_stay_shown_while_the_run_adds_points(tab: Tab, folder: RunFolder) -> None:
    plot = tab.locator(".pick-loss .plot")
    tab.mouse.move(*at_step(plot, 100, 200))
    expect_tip(plot, "100", "train 5.491", "validation 5.991")
    append_line(folder.metrics, {"step": 400, "train_loss": 3.0, "eval_loss": 3.5})
    expect(tab.locator(".pick-loss .card-head")).to_contain_text("validation 3.500")
    expect_tip(plot, "100", "train 5.491", "validation 5.991")
    line, area = plot.locator(".tip-line").bounding_box(), plot.locator(".plot-area").bounding_box()
    assert line is not None and area is not None
    assert line["x"] - area["x"] == pytest.approx(area["width"] / 4, abs=1.5), "it moved with its step"


def test_perplexity_falls_by_equal_distances_for_equal_ratios(tab: Tab) -> None:
    plot = tab.locator(".pick-perplexity .plot")
    high, middle, low = (float(y) for y in re.findall(r" ([\d.]+)", plot.locator(".line.val").get_attribute("d") or ""))
    assert middle - high == pytest.approx(low - middle, abs=0.2)
    assert middle - high > 50, "of the 160 of the whole height"
    ticks = {tick.inner_text(): tick.bounding_box() for tick in plot.locator(".tick.up").all()}
    assert {"50", "100", "200", "500", "1k", "2k", "5k"} <= set(ticks)
    tops = [ticks[label]["y"] for label in ("1k", "100")]  # type: ignore[index]
    area = plot.locator(".plot-area").bounding_box()
    assert area is not None
    assert tops[1] - tops[0] == pytest.approx((middle - high) / 160 * area["height"], abs=1)
    loss = [float(y) for y in re.findall(r" ([\d.]+)", tab.locator(".pick-loss .line.val").get_attribute("d") or "")]
    speed = tab.locator(".pick-speed .tick.up").all_inner_texts()
    assert len(loss) == 3 and speed[0] == "0"


@pytest.mark.parametrize(
    "tab", [{"viewport": DESK}, {"viewport": {"width": 1000, "height": 800}}, ON_PHONE], indirect=True
)
def test_nothing_on_the_tab_moves_when_an_evaluation_arrives(tab: Tab, folder: RunFolder) -> None:
    status = {"request_id": "calm-kea", "state": "running", "step": 200, "max_steps": 9_000}
    write_json(folder.status, status)
    expect(tab.locator(".strip")).to_have_attribute("data-step", "200")
    expect(tab.locator("#story .timeline li")).to_have_count(1)
    before = cards(tab)
    write_json(folder.status, {**status, "message": "evaluating"})
    expect(tab.locator(".strip .note")).to_have_text("evaluating")
    assert cards(tab) == before
    append_line(folder.metrics, {"step": 1_000, "train_loss": 13.8, "eval_loss": 14.9, "learning_rate": 1.5e-4})
    write_sample(folder, 1_000)
    write_json(folder.status, {**status, "step": 1_000, "eval_loss": 14.9, "perplexity": math.exp(14.9)})
    expect(tab.locator("#story .timeline li")).to_have_count(2)
    expect(tab.locator(".pick-loss .card-head")).to_contain_text("validation 14.900")
    expect(tab.locator(".pick-perplexity .card-head")).to_contain_text("validation 3.0e+06")
    expect(tab.locator(".pick-rate .plot")).to_have_attribute("aria-label", re.compile("1.5e-04"))
    assert cards(tab) == before
    assert tab.evaluate(
        "[...document.querySelectorAll('.chart .card-head')].every((e) => e.scrollWidth <= e.clientWidth)"
    )
    tab.evaluate(
        "document.querySelectorAll('.chart .series b').forEach((value) => { value.textContent = '9'.repeat(40); })"
    )
    assert cards(tab) == before, "not even a number that is too wide"


def cards(tab: Tab) -> list[Any]:
    """Place and size of each visible card and chart, in order of the page."""
    return tab.locator(":is(.card, .plot, .picker):visible").evaluate_all(
        """(nodes) => nodes.map((node) => {
            const { left, top, width, height } = node.getBoundingClientRect();
            return [node.className, left, top, width, height].join(' ');
        })"""
    )
