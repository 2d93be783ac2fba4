"""The Data tab: what was read is counted anew without reading, samples are chosen and turned, keywords are chips."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page as Tab
from playwright.sync_api import expect

from tests.browser.conftest import field
from tests.page import Page

pytestmark = [pytest.mark.slow, pytest.mark.browser]

OpenTab = Callable[..., Tab]
EVIL = "<img src=x onerror=document.title='hacked'>"
FILES = {
    "a.py": "import pandas as pd\n",
    "b.py": "# geopandas is mentioned\n",
    "deep.py": "x = 1\n" * 900 + "import seaborn\n",
    "plain.py": "import numpy as np\n",
    f"{EVIL.replace('/', '')}.py": f"import pandas\n# {EVIL}\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "bad.py").write_bytes(b"caf\xe9\n")
    return tmp_path


def scan(tab: Tab, folder: Path) -> None:
    expect(tab.locator("#scan-progress")).to_contain_text("Scan finished")
    tab.locator(".segments label", has_text="Files").click()
    tab.get_by_label("File, glob or folder").fill(str(folder))
    tab.locator("#scan").click()
    expect(tab.locator("#scan-figures")).to_contain_text(re.compile(r"Files scanned\s*5"))


def test_the_report_is_exact_and_hostile_names_are_text(finished_page: Page, open_tab: OpenTab, folder: Path) -> None:
    tab = open_tab(finished_page.url)
    scan(tab, folder)
    expect(tab.locator("#scan-figures")).to_contain_text("80.00 %")
    expect(tab.locator("#scan-figures .axis .range")).to_have_count(1)
    expect(tab.locator("#hits tr[data-keyword=pandas]")).to_contain_text("60.00 %")
    expect(tab.locator("#hits tr[data-keyword=seaborn]")).to_contain_text("901")
    expect(tab.locator("#bad-rows")).to_contain_text("not UTF-8")
    tab.locator("#bad-rows summary").click()
    expect(tab.locator("#bad-rows .places")).to_contain_text("bad.py:1")
    expect(tab.locator("#lengths .histogram > div").first).to_be_visible()
    tab.wait_for_timeout(500)
    assert "hacked" not in tab.title()


def test_other_keywords_and_another_match_are_counted_from_memory(
    finished_page: Page, open_tab: OpenTab, folder: Path
) -> None:
    tab = open_tab(finished_page.url)
    scan(tab, folder)
    other = "import pandas as pd"  # of the same size, so that only who reads it again sees it
    assert len(other) == len(FILES["plain.py"])
    (folder / "plain.py").write_text(other)
    tab.locator("#match label", has_text="as a name").click()
    expect(tab.locator("#hits tr[data-keyword=pandas]")).to_contain_text("40.00 %")  # geopandas is another name
    tab.locator("#match label", has_text="imported").click()
    expect(tab.locator("#scan-figures")).to_contain_text("60.00 %")
    own = field(tab, "own-keywords")
    own.fill("numpy")
    own.press("Enter")
    expect(tab.locator(".chips label", has_text="numpy")).to_be_visible()
    expect(own).to_have_value("")
    expect(tab.locator("#hits tr[data-keyword=numpy]")).to_contain_text("20.00 %")
    tab.locator(".chips label", has_text="pandas").click()
    tab.locator("#scan").click()
    expect(tab.locator("#hits tr[data-keyword=pandas]")).to_have_count(0)
    expect(tab.locator("#scan-figures")).to_contain_text("40.00 %")


def test_samples_are_turned_chosen_by_keyword_and_shown_at_their_first_hit(
    finished_page: Page, open_tab: OpenTab, folder: Path
) -> None:
    tab = open_tab(finished_page.url)
    scan(tab, folder)
    sample = tab.locator("#sample")
    expect(sample).to_contain_text("sample 1 of 4")
    tab.get_by_role("button", name="Next").click()
    expect(sample).to_contain_text("sample 2 of 4")
    tab.get_by_role("button", name="Previous").click()
    tab.get_by_role("button", name="Previous").click()
    expect(sample).to_contain_text("sample 4 of 4")
    tab.locator("#only input").click()
    tab.get_by_role("option", name="seaborn").click()
    expect(sample).to_contain_text("sample 1 of 1")
    expect(sample).to_contain_text("first hit: line 901")
    expect(sample.locator(".code")).to_have_attribute("data-first", "881")
    expect(sample.locator(".code li").nth(20)).to_have_text("import seaborn")
    sample.locator("[data-act=hit]").click()
    expect(sample.locator(".code mark").first).to_be_in_viewport()
