"""A first visit to a fresh home: something answers at once, without a command line."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import gradio_client
import pytest
from playwright.sync_api import Page as Tab
from playwright.sync_api import expect

from pipeline.core.paths import Home
from tests.browser.conftest import DESK, PHONE, show
from tests.homes import write_corpus, write_run
from tests.hub.test_other_models import MODEL, add
from tests.loopback_hub import LoopbackHub
from tests.page import Page

OpenTab = Callable[..., Tab]


def complete(tab: Tab) -> None:
    tab.locator("#complete").click()
    expect(tab.locator("#completion .pill.finished")).to_be_visible()
    expect(tab.locator("#completion .new")).not_to_be_empty()


def test_the_starter_answers_the_first_prompt(start_page: Callable[..., Page], open_tab: OpenTab) -> None:
    tab = open_tab(start_page().url)
    show(tab, "Generate")
    expect(tab.locator("#revision input")).to_have_value("starter model")
    complete(tab)
    expect(tab.locator("#completion")).to_contain_text("The starter model came with this page")
    expect(tab.locator("#completion")).not_to_contain_text("python -m")


def test_a_completion_ends_at_the_end_of_its_line(start_page: Callable[..., Page], open_tab: OpenTab) -> None:
    """With the same seed it is the first line of what is written without that."""
    tab = open_tab(start_page().url)
    show(tab, "Generate")
    texts = []
    for stop in ("token limit", "end of line"):
        tab.get_by_test_id(f"{stop}-radio-label").click()
        complete(tab)
        shown = expect(tab.locator("#completion .sampling"))
        shown.to_contain_text("until the end of line") if texts else shown.not_to_contain_text("until")
        expect(tab.locator("#completion .pill.finished")).to_be_visible()  # of this one
        texts.append(tab.locator("#completion pre.new").inner_text().strip())
    assert "\n" in texts[0], "control: it is more than a line"
    assert texts[1] == texts[0].splitlines()[0].strip()


def test_the_courses_model_is_offered_with_its_size_and_answers(
    start_page: Callable[..., Page], open_tab: OpenTab, tmp_path: Path
) -> None:
    with LoopbackHub() as hub:
        add(hub)
        tab = open_tab(start_page(**hub.environment(tmp_path, token=None), PIPELINE_MODELS=MODEL).url)
        show(tab, "Generate")
        tab.locator("#revision input").click()
        tab.get_by_role("option", name=f"{MODEL} · 8.").click()
        assert not [request for request in hub.requests if request.endswith("model.safetensors")], (
            "not before it is used"
        )
        complete(tab)
        expect(tab.locator("#completion .wrote")).to_contain_text(MODEL)
        hub.stop()
        complete(tab)  # it is kept


@pytest.mark.parametrize("screen", [DESK, PHONE], ids=["desk", "phone"])
def test_the_owner_adds_a_model_by_its_name_and_it_answers(
    start_page: Callable[..., Page], open_tab: OpenTab, tmp_path: Path, screen: dict[str, int]
) -> None:
    with LoopbackHub() as hub:
        add(hub, "other/model")
        tab = open_tab(start_page(**hub.environment(tmp_path, token=None)).url, viewport=screen)
        show(tab, "Generate")
        if screen == PHONE:
            tab.get_by_role("button", name="Model and sampling").click()
        name, answer = tab.locator("#model-name textarea, #model-name input"), tab.locator("#model-answer")
        name.fill("not a name")
        tab.locator("#add-model").click()
        expect(tab.get_by_text("write it as owner/name").first).to_be_visible()
        name.fill("other/nothing")
        name.press("Enter")
        expect(tab.get_by_text("other/nothing").first).to_be_visible()
        name.fill("other/model")
        name.press("Enter")
        expect(answer).to_contain_text("other/model is chosen above. Its 8.")
        expect(name).to_have_value("")
        expect(tab.locator("#revision input")).to_have_value(re.compile("other/model"))
        assert not [request for request in hub.requests if request.endswith("model.safetensors")]
        complete(tab)
        expect(tab.locator("#completion .wrote")).to_contain_text("other/model")
        assert tab.evaluate("document.documentElement.scrollWidth") <= screen["width"]


def test_a_visitor_has_no_field_to_add_a_model(
    start_page: Callable[..., Page], open_tab: OpenTab, tmp_path: Path
) -> None:
    with LoopbackHub() as hub:
        add(hub, "other/model")
        public = {"PIPELINE_OWNER_KEY": "0123456789abcdef", "GRADIO_SERVER_NAME": "0.0.0.0"}
        tab = open_tab(start_page(**hub.environment(tmp_path, token=None), **public).url)
        show(tab, "Generate")
        expect(tab.locator("#complete")).to_be_visible()
        expect(tab.locator("#model-name")).to_be_hidden()


@pytest.mark.parametrize("name", ["other/model", "other/model@main", f"{MODEL}@main"])
def test_a_visitor_makes_the_page_download_no_other_model(
    start_page: Callable[..., Page], tmp_path: Path, name: str
) -> None:
    with LoopbackHub() as hub:
        add(hub, "other/model")
        page = start_page(
            **hub.environment(tmp_path, token=None),
            PIPELINE_MODELS=MODEL,
            PIPELINE_OWNER_KEY="0123456789abcdef",
            GRADIO_SERVER_NAME="0.0.0.0",
        )
        client = gradio_client.Client(page.url, verbose=False)
        with pytest.raises(gradio_client.exceptions.AppError, match="owner"):
            client.predict("x = ", name, api_name="/generate")
        assert not [request for request in hub.requests if "other/model" in request or "safetensors" in request]


def test_a_visitor_who_names_an_offered_model_gets_its_offered_commit(
    start_page: Callable[..., Page], tmp_path: Path
) -> None:
    """Else whoever owns the model could have the page download it anew with every commit."""
    with LoopbackHub() as hub:
        add(hub)
        public = {"PIPELINE_OWNER_KEY": "0123456789abcdef", "GRADIO_SERVER_NAME": "0.0.0.0"}
        page = start_page(**hub.environment(tmp_path, token=None), PIPELINE_MODELS=MODEL, **public)
        client = gradio_client.Client(page.url, verbose=False)
        first = client.predict("x = ", MODEL, api_name="/generate")
        hub.edit(MODEL, "README.md", "new")
        assert client.predict("x = ", MODEL, api_name="/generate")["revision"] == first["revision"]
        assert sum(request.endswith("model.safetensors") for request in hub.requests if "GET" in request) == 1


def test_the_first_steps_lead_to_their_tabs_until_they_are_closed(
    start_page: Callable[..., Page], open_tab: OpenTab, tmp_path: Path
) -> None:
    write_corpus(Home(tmp_path / "home"), "ready")
    page = start_page()
    tab = open_tab(page.url)
    tab.locator("#guide").get_by_role("button", name="1.0 M tokens ready: train on it").click()
    expect(tab.locator("#start")).to_be_visible()
    show(tab, "Data")
    tab.locator("#guide").get_by_role("button", name="Try the starter model").click()
    expect(tab.locator("#complete")).to_be_visible()
    show(tab, "Data")
    tab.locator("#guide").get_by_role("button", name="Close these steps").click()
    expect(tab.locator("#guide")).to_be_hidden()
    tab.reload()
    expect(tab.locator("#scan-progress")).to_be_visible()
    expect(tab.locator("#guide")).to_be_hidden()
    write_run(Home(page.home), "calm-kea")
    other = open_tab(page.url)
    expect(other.locator("#scan-progress")).to_be_visible()
    expect(other.locator(".guide")).to_have_count(0)  # a run has finished
