"""Pushing a corpus to the Hub from the page: started, shown after a reload and a crash, stopped, finished."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect
from playwright.sync_api import Page as Tab

from pipeline.core.paths import Home
from tests.browser.conftest import DESK, PHONE, field, wait_for
from tests.checkpoints import write_checkpoint
from tests.homes import end_jobs, write_run
from tests.hub.corpora import CORPUS, prepare_corpus, project
from tests.loopback_hub import LoopbackHub
from tests.page import Page

pytestmark = [pytest.mark.slow, pytest.mark.browser]

OpenTab = Callable[..., Tab]
StartPage = Callable[..., Page]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    prepare_corpus(home, project(tmp_path / "project"))
    return home


@pytest.fixture
def hub() -> Iterator[LoopbackHub]:
    with LoopbackHub() as started:
        yield started


@pytest.fixture
def start(home: Home, hub: LoopbackHub, tmp_path: Path) -> Iterator[StartPage]:
    pages = []

    def start_page(**environment: str) -> Page:
        pages.append(Page(home.path, **{**hub.environment(tmp_path, environment.pop("token", None)), **environment}))
        pages[-1].start()
        return pages[-1]

    yield start_page
    for page in pages:
        page.kill()
    hub.stop()  # a push job that waits for a response would not end
    end_jobs(home)


def open_form(tab: Tab) -> None:
    tab.locator(f"#corpora [data-job='offer {CORPUS}']").click()
    expect(tab.locator("#push-form")).to_contain_text(f"Push {CORPUS} to the Hub")


def push_of(tab: Tab) -> Locator:
    return tab.locator(f"#corpora [data-push={CORPUS}]")


def test_a_push_is_shown_after_a_reload_and_a_crash(start: StartPage, hub: LoopbackHub, open_tab: OpenTab) -> None:
    hub.hang(on="PUT /_lfs", times=1)
    page = start(token=hub.repos.token, PIPELINE_HUB_REPO="me/parrot")
    tab = open_tab(page.url)
    expect(tab.locator("#push-form")).to_be_hidden()
    open_form(tab)
    expect(field(tab, "push-repo")).to_have_value(f"me/{CORPUS}")
    field(tab, "push-repo").fill("me/files")
    tab.locator("#push-private input").check()
    tab.locator("#push").click()
    expect(tab.locator("#push-form")).to_be_hidden()
    row = push_of(tab)
    expect(row.locator(".pill")).to_have_text(re.compile("Uploading"))
    expect(row).to_contain_text("Corpus code is whole: 90 files.")

    # ---- the upload hangs; a reload and a crash of the page leave it running ----
    tab.reload()
    expect(row.locator(".pill")).to_have_text(re.compile("Uploading"))
    tab.locator(f"#corpora [data-job='ask {CORPUS}']").click()
    tab.locator(f"#corpora [data-job='delete {CORPUS}']").click()
    expect(tab.locator("#prepare-answer")).to_contain_text("code is being pushed; stop that first")
    page.kill()
    page.start()
    tab = open_tab(page.url)  # the old tab may be reloading itself at this moment
    row = push_of(tab)
    expect(row.locator(".pill")).to_have_text(re.compile("Uploading"))
    row.locator(f"[data-job='stop-push {CORPUS}']").click()
    expect(row.locator(".pill")).to_have_text(re.compile("Stopped"))
    assert hub.commits("datasets/me/files")[1:] == []

    # ---- pushed again, it finishes ----
    open_form(tab)
    expect(field(tab, "push-repo")).to_have_value("me/files")
    tab.locator("#push").click()
    expect(row.locator(".pill")).to_have_text(re.compile("Pushed"))
    expect(row.locator("a")).to_have_attribute("href", f"{hub.url}/datasets/me/files")
    assert "README.md" in hub.commits("datasets/me/files")[-1].files
    assert hub.repos.private == {"datasets/me/files"}


def test_a_refusal_is_one_sentence_in_the_form_or_the_list(
    start: StartPage, hub: LoopbackHub, home: Home, open_tab: OpenTab
) -> None:
    hub.edit("datasets/me/files", "README.md", "precious")
    tab = open_tab(start(token=hub.repos.token).url)
    open_form(tab)
    expect(field(tab, "push-repo")).to_have_value("")
    field(tab, "push-repo").fill("<b>files</b>")
    tab.locator("#push").click()
    expect(tab.locator("#push-answer .notice")).to_contain_text("write it as owner/name")
    field(tab, "push-repo").fill("me/files")
    field(tab, "push-repo").press("Enter")
    refused = push_of(tab).locator(".notice")
    expect(refused).to_contain_text("Not pushed to me/files: Dataset me/files holds README.md")
    assert [commit.title for commit in hub.commits("datasets/me/files")] == ["Update README.md"]


@pytest.mark.parametrize("screen", [DESK, PHONE], ids=["desk", "phone"])
def test_without_a_token_the_form_says_what_to_set(
    start: StartPage, home: Home, open_tab: OpenTab, screen: dict[str, int]
) -> None:
    tab = open_tab(start().url, viewport=screen)
    open_form(tab)
    field(tab, "push-repo").fill("me/files")
    tab.locator("#push").click()
    expect(tab.locator("#push-answer .notice")).to_contain_text("HF_TOKEN is not set; set it to a token")
    assert tab.evaluate("document.documentElement.scrollWidth") <= screen["width"]
    tab.locator("#cancel-push").click()
    expect(tab.locator("#push-form")).to_be_hidden()
    wait_for(tab, "no push", lambda: not home.corpus(CORPUS).push.path.exists())


def test_a_refused_checkpoint_is_told_and_arrives_when_it_is_pushed_again(
    start: StartPage, home: Home, hub: LoopbackHub, open_tab: OpenTab
) -> None:
    hub.refuse(403, on="/commit/main", body='{"error": "read-only token"}')
    write_run(home, "calm-kea")
    write_checkpoint(home.run("calm-kea"), 20)
    tab = open_tab(start(token=hub.repos.token, PIPELINE_HUB_REPO="me/parrot").url)
    tab.get_by_role("tab", name="Train").click()
    problem, again = tab.locator("#problem"), tab.locator("#retry-push")
    expect(problem).to_contain_text("Step 20 is not on the Hub: me/parrot refused it")
    expect(problem).to_contain_text("read-only token")
    expect(tab.locator("#strip .cells")).to_contain_text("Registered here")
    hub.heal()
    again.click()
    expect(again).to_be_hidden()
    expect(problem).not_to_contain_text("not on the Hub")
    expect(tab.locator("#pushes .pill").first).to_have_text(re.compile("Pushed"))
    link = tab.locator("#strip .cells a")
    expect(link).to_have_attribute("href", f"{hub.url}/me/parrot/commit/{hub.commits('me/parrot')[-1].oid}")
    expect(tab.locator("#strip .cells")).to_contain_text("On the Hub")
