"""The Data tab on a folder with known numbers: keyword chips, ways to match, counting again, and the sample preview."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect
from playwright.sync_api import Page as Tab

from tests.browser.conftest import PHONE, add_keyword, choose_filter, remove_keyword, scan_folder
from tests.data.dataset_hub import DatasetHub
from tests.page import Page

pytestmark = [pytest.mark.slow, pytest.mark.browser]

NUM_PARTS = 300
OpenTab = Callable[..., Tab]


def files_with(tab: Tab, keyword: str) -> Locator:
    return tab.locator(f'#hits tr[data-keyword="{keyword}"] td').nth(1)


def kept(tab: Tab) -> Locator:
    return tab.locator("#scan-figures .figure").nth(1).locator("dd").first


def test_chips_are_edited_and_files_counted_again_without_being_read(
    finished_page: Page, open_tab: OpenTab, known_code: Path
) -> None:
    tab = open_tab(finished_page.url)
    scan_folder(tab, known_code)
    expect(kept(tab)).to_have_text("30")
    expect(files_with(tab, "pandas")).to_have_text("30")
    expect(tab.locator("#scan-progress")).to_contain_text("read and matched")

    remove_keyword(tab, "pandas")
    expect(kept(tab)).to_have_text("10")  # seaborn
    expect(tab.locator("#scan-progress")).to_contain_text(re.compile("counted again from memory in [0-9.]+ s"))
    add_keyword(tab, "numpy")
    expect(files_with(tab, "numpy")).to_have_text("20")
    expect(tab.locator("#scan-progress")).to_contain_text("counted again from memory")
    expect(tab.locator("#bad-rows")).to_contain_text("every file could be read")
    tab.locator("#course").click()
    expect(files_with(tab, "pandas")).to_have_text("30")
    expect(tab.locator("#keywords .token")).to_have_count(4)


def test_what_is_typed_becomes_a_keyword_at_a_comma_and_at_scan(
    finished_page: Page, open_tab: OpenTab, known_code: Path
) -> None:
    tab = open_tab(finished_page.url)
    scan_folder(tab, known_code)
    tab.locator("#keywords input").press_sequentially("plot,numpy")  # "plot" is not taken for matplotlib
    expect(tab.locator("#keywords .token", has_text=re.compile("^plot"))).to_be_visible()
    tab.locator("#scan").click()
    expect(files_with(tab, "numpy")).to_have_text("20")
    expect(files_with(tab, "plot")).to_have_text("0")


def test_the_way_to_match_changes_the_numbers_from_memory(
    finished_page: Page, open_tab: OpenTab, known_code: Path
) -> None:
    tab = open_tab(finished_page.url)
    scan_folder(tab, known_code)
    for path in known_code.glob("*.py"):  # same size: a new read of the files would find nothing
        path.write_text(path.read_text().replace("pandas", "pandaz"))
    for name, count in (("Whole name", "20"), ("Imported", "10"), ("Contains", "30")):
        tab.locator("#match label", has_text=name).click()
        expect(files_with(tab, "pandas")).to_have_text(count)
        expect(tab.locator("#scan-progress")).to_contain_text("counted again from memory")
    tab.locator("#match label", has_text="Imported").click()
    expect(files_with(tab, "pandas")).to_have_text("10")
    add_keyword(tab, "no module")
    expect(tab.locator("#scan-progress .notice")).to_contain_text(
        "“Keyword” is “no module”; write 1 to 200 characters; where imports"
    )


def test_the_preview_turns_and_filters_and_jumps_to_a_hit_far_down(
    finished_page: Page, open_tab: OpenTab, known_code: Path
) -> None:
    tab = open_tab(finished_page.url)
    scan_folder(tab, known_code)
    name, position = tab.locator("#sample .file-name"), tab.locator("#sample .facts li").last
    expect(position).to_have_text("sample 1 of 30")
    first = name.inner_text()
    tab.get_by_role("button", name="Next", exact=True).click()
    expect(position).to_have_text("sample 2 of 30")
    expect(name).not_to_have_text(first)
    tab.get_by_role("button", name="Previous", exact=True).focus()
    tab.keyboard.press("Enter")  # by keyboard too
    expect(position).to_have_text("sample 1 of 30")
    expect(name).to_have_text(first)
    tab.get_by_role("button", name="Random", exact=True).click()
    expect(position).not_to_have_text("sample 1 of 30")

    choose_filter(tab, "seaborn")
    expect(position).to_have_text("sample 1 of 10")
    expect(tab.locator("#sample .more-lines.before")).to_contain_text("593 lines")
    numbers = tab.locator("#sample .code").evaluate("code => getComputedStyle(code).counterReset")
    assert numbers == "line 593"
    jump = tab.locator("#sample .jumps button", has_text="seaborn")
    expect(jump).to_contain_text("line 600")
    jump.press("Enter")
    here = tab.locator("#sample .code li.here")
    expect(here).to_contain_text("seaborn")
    assert tab.locator("#sample .code li").evaluate_all("all => all.indexOf(document.querySelector('.here'))") == 6
    expect(here).to_be_in_viewport()
    assert tab.evaluate("document.activeElement.className") == "code"


def test_a_long_line_scrolls_inside_its_card_on_a_phone(
    finished_page: Page, open_tab: OpenTab, known_code: Path
) -> None:
    tab = open_tab(finished_page.url, viewport=PHONE, is_mobile=True, has_touch=True)
    tab.locator(".form-card", has=tab.locator("#scan")).locator(".fold-toggle").click()
    scan_folder(tab, known_code)
    choose_filter(tab, "seaborn")
    code = tab.locator("#sample .code")
    expect(code).to_contain_text("seaborn")
    assert code.evaluate("code => code.scrollWidth > code.clientWidth")
    assert tab.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_figures_of_an_older_scan_are_greyed_until_the_new_ones_are_there(
    finished_page: Page, open_tab: OpenTab, known_code: Path
) -> None:
    tab = open_tab(finished_page.url)
    figures, progress = tab.locator("#scan-figures"), tab.locator("#scan-progress")
    scan_folder(tab, known_code)
    expect(figures).to_have_css("opacity", "1")
    expect(progress).to_contain_text(f"files:{known_code}")
    tab.get_by_label("File, glob or folder").fill("/nowhere/at/all")
    tab.locator("#scan").click()
    expect(progress.locator(".notice")).to_be_attached()
    expect(figures).to_have_css("opacity", "0.4")
    scan_folder(tab, known_code)
    expect(figures).to_have_css("opacity", "1")


def test_cards_show_warnings_and_details(finished_page: Page, open_tab: OpenTab, known_code: Path) -> None:
    tab = open_tab(finished_page.url)
    scan_folder(tab, known_code)
    expect(tab.locator("#scan-figures .notice")).to_contain_text("All kept files are from one repository, ")
    expect(tab.locator("#scan-figures .rate-axis")).to_contain_text("95 % interval")
    expect(tab.locator("#hits .together")).to_contain_text("pandas + seaborn 10")
    expect(tab.locator("#lengths .columns li").first).to_be_attached()
    expect(tab.locator("#largest")).to_contain_text("no licence named")


def test_hostile_names_stay_text(finished_page: Page, open_tab: OpenTab, known_code: Path) -> None:
    evil = "<img src=x onerror=document.title='hacked'>"
    (known_code / f"{evil}.py").write_text(f"import pandas  # {evil}\n" * 3)
    (known_code / f"{evil}.jsonl").write_text("{broken\n")
    tab = open_tab(finished_page.url)
    scan_folder(tab, known_code)
    expect(tab.locator("#bad-rows .places")).to_contain_text(f"{evil}.jsonl:1")
    add_keyword(tab, evil)
    expect(tab.locator("#keywords .token", has_text="onerror")).to_be_visible()
    expect(tab.locator(f'#hits tr[data-keyword="{evil}"] td').nth(1)).to_have_text("1")
    choose_filter(tab, evil)
    expect(tab.locator("#sample .file-name")).to_contain_text(evil)
    expect(tab.locator("#sample .code")).to_contain_text(evil)
    assert tab.locator("img[src=x]").count() == 0
    assert "hacked" not in tab.title()


@pytest.fixture
def slow_hub() -> Iterator[DatasetHub]:
    """`me/code` has NUM_PARTS parts with one file each, which take half a minute together."""
    rows = [json.dumps({"content": f"import pandas, numpy  # {number}"}) for number in range(NUM_PARTS)]
    with DatasetHub({"me/code": {f"train-{number:03}.jsonl": row.encode() for number, row in enumerate(rows)}}) as hub:
        hub.delay = 0.1
        yield hub


def test_a_cancelled_scan_keeps_what_it_counted_and_resumes_from_memory(
    start_page: Callable[..., Page], open_tab: OpenTab, slow_hub: DatasetHub
) -> None:
    tab = open_tab(start_page(HF_ENDPOINT=slow_hub.endpoint).url)
    tab.get_by_test_id("Hub-radio-label").click()
    repo = tab.get_by_label("Dataset on the Hub")
    repo.fill("me/code")
    repo.press("Enter")  # scans
    expect(tab.locator("#scan-progress")).to_contain_text(re.compile(r"[^0-9,][2-9]\d of at most 20,000 files"))
    tab.locator("#cancel-scan").click()
    expect(tab.locator("#scan-progress")).to_contain_text("stays here; press Scan to go on from there")
    scanned = tab.locator("#scan-figures .figure dd").first
    counted = whole(scanned)
    assert 20 <= counted < NUM_PARTS
    add_keyword(tab, "numpy")  # counted in those files only
    expect(tab.locator("#scan-progress")).to_contain_text("Scan finished")
    assert whole(scanned) == counted
    slow_hub.delay = 0.0
    tab.locator("#scan").click()
    expect(tab.locator("#scan-progress")).to_contain_text(re.compile("Scan finished.*[0-9,]+ files from memory"))
    assert whole(scanned) == NUM_PARTS


def whole(figure: Locator) -> int:
    return int(figure.inner_text().replace(",", ""))
