"""A page that reaches a package index opens with the examples there; projects are named in the field beside it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page as Tab
from playwright.sync_api import expect

from tests.package_index import PackageIndex, plot, sdist
from tests.page import Page

pytestmark = pytest.mark.browser


def test_the_examples_of_the_index_are_the_first_scan_and_names_choose_others(
    start_page: Callable[..., Page], open_tab: Callable[[str], Tab]
) -> None:
    files = {f"examples/a{number}.py": plot(number) for number in range(30)}
    projects = {
        "matplotlib": [sdist("matplotlib", "3.0", {**files, "lib/x.py": "x = 1\n"})],
        "sea-bird": [sdist("sea-bird", "1.0", {"src/a.py": plot(1), "b.py": "y = 1\n"})],
    }
    with PackageIndex(projects, login="user:sesame-sesame") as index:
        tab = open_tab(start_page(**index.environment()).url)
        expect(tab.locator("#scan-progress")).to_contain_text("Scan finished")
        expect(tab.locator("#scan-figures")).to_contain_text("30")
        expect(tab.get_by_test_id("Projects-radio-label").locator("input")).to_be_checked()
        expect(tab.locator("#largest")).to_contain_text("matplotlib")
        expect(tab.locator("#bad-rows")).to_contain_text("not in the package index")

        projects_field = tab.get_by_label("Projects on the package index")
        expect(projects_field).to_have_value("Examples of data-science projects")
        projects_field.fill("sea-bird")
        projects_field.press("Enter")
        tab.locator("#scan").click()
        expect(tab.locator("#largest")).to_contain_text("sea-bird")
        expect(tab.locator("#scan-progress")).to_contain_text("Scan finished")

        projects_field.fill("no-such-bird")
        projects_field.press("Enter")
        tab.locator("#scan").click()
        expect(tab.locator("#scan-progress")).to_contain_text("has no project 'no-such-bird'")

        tab.get_by_test_id("Hub-radio-label").click()
        expect(tab.get_by_label("Dataset on the Hub")).to_have_value("huggingface-course/codeparrot-ds-train")
        assert "sesame" not in tab.content()
