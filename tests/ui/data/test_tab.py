"""The Data tab's message when a scan is refused while an older scan's figures are still shown."""

from __future__ import annotations

import asyncio
from typing import Any

import gradio as gr
import pytest

from pipeline.core.settings import Settings
from pipeline.data.preview.scan import Scan
from pipeline.data.report.samples import Sample
from pipeline.data.report.scan_report import Report
from pipeline.ui.data.sample_view import ShownScan
from pipeline.ui.data.scans import Key
from pipeline.ui.data.tab import DataTab
from pipeline.ui.shared.engine import Engine
from pipeline.ui.shared.texts import t
from tests.package_index import PackageIndex, sdist
from tests.ui.conftest import request_of

COURSE, ALL = t("data.repo.course"), t("data.repo.all")
BEFORE = ("installed", 1_000)
SHOWN = Key("installed", ("pandas",), "substring", 1_000, builders=False)


@pytest.fixture
def tab(settings: Settings) -> DataTab:
    tab = DataTab(Engine(settings))
    with gr.Blocks() as page:
        tab.build()
        tab.build_main()
        tab.connect(page)
    return tab


def scan_updates(tab: DataTab, asked: Any, path: str) -> list[dict[Any, Any]]:
    async def updates() -> list[dict[Any, Any]]:
        scan = tab.look(asked, asked and SHOWN, "files", path, "", ["pandas"], "substring", 1_000, request_of())
        return [update async for update in scan]

    return asyncio.run(updates())


@pytest.mark.parametrize(("asked", "is_named"), [(None, False), (BEFORE, True)])
def test_an_error_above_older_figures_names_their_source(tab: DataTab, asked: Any, is_named: bool) -> None:
    for path in ("", "/nowhere/at/all"):  # refused by the form; refused by the reader
        updates = scan_updates(tab, asked, path)
        notices = [update for update in updates if "notice" in str(update.get(tab.progress, ""))]
        assert len(notices) == 1
        assert ("the scan before: installed" in notices[0][tab.progress]) == is_named
        assert ("older-below" in notices[0][tab.progress]) == is_named
        last = [update[tab.asked] for update in updates if tab.asked in update][-1]
        assert last == asked, "other keywords are counted in the rows of the shown scan"


@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [
        ("pypi", COURSE, "#examples"),
        ("pypi", ALL, "#examples"),
        ("pypi", "#all", None),
        ("pypi", "seaborn", None),
        ("pypi", "owner/name", "#examples"),
        ("hub", "#examples", COURSE),
        ("hub", "seaborn", COURSE),
        ("hub", "owner/name", None),
        ("hub", None, COURSE),
    ],
)
def test_the_field_for_datasets_and_projects_follows_the_kind(
    tab: DataTab, kind: str, before: str | None, after: str | None
) -> None:
    path, repo = tab.show_source(kind, before)
    assert (path["visible"], repo["visible"]) == (False, True)
    assert repo.get("value") == after, "what somebody wrote stays"
    assert repo["label"] == t("data.projects" if kind == "pypi" else "data.repo")


def test_without_an_index_the_page_opens_with_the_installed_packages(tab: DataTab) -> None:
    assert tab.offer() == (gr.skip(), gr.skip()), "somebody may have chosen another source meanwhile"


def test_with_an_index_the_page_opens_with_its_examples(tab: DataTab, monkeypatch: pytest.MonkeyPatch) -> None:
    with PackageIndex({"matplotlib": [sdist("matplotlib", "1.0", {})]}) as index:
        for name, value in index.environment().items():
            monkeypatch.setenv(name, value)
        kind, repo = tab.offer()
    assert (kind, repo["value"], repo["visible"]) == ("pypi", "#examples", True)
    assert tab.engine.offer.known() == "pypi"


@pytest.mark.parametrize("is_newer", [False, True])
def test_an_older_scan_does_not_switch_off_cancel_for_a_newer_one(tab: DataTab, *, is_newer: bool) -> None:
    """The newer one waits for the older one for a few seconds only, so the older one's last updates may come late."""
    request = request_of()
    older = tab._answer(None, None, "files", "/nowhere/at/all", "", ["pandas"], "substring", 1_000, request)
    first = next(older)
    assert first[tab.cancel_button]["interactive"] is True
    if is_newer:
        tab.engine.scans._questions[request.session_hash or ""].is_superseded = True
    buttons = [update[tab.cancel_button]["interactive"] for update in older if tab.cancel_button in update]
    assert buttons == ([] if is_newer else [False])


def test_the_place_of_the_shown_sample_is_right_when_the_scan_has_ended(
    tab: DataTab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first samples of a scan are shown; those of the whole scan are more, and in another order."""
    samples = [Sample(key, "repo", f"{key}.py", "mit", "1", "10", "import pandas", ("pandas",)) for key in "abc"]
    whole = ShownScan(Scan(Report(["pandas"]).to_dict(), samples, True))
    monkeypatch.setattr(tab, "_shown_scan", lambda key: whole)
    settled = tab.settle(SHOWN, "", "b")
    assert (settled[tab.index], "b.py" in settled[tab.sample]) == (1, True)
    assert "sample 2 of 3" in settled[tab.sample]
    gone = tab.settle(SHOWN, "", "no longer one of them")
    assert (gone[tab.index], gone[tab.sample_key], "sample 1 of 3" in gone[tab.sample]) == (0, "a", True)
    monkeypatch.setattr(tab, "_shown_scan", lambda key: None)
    assert tab.settle(None, "", "") == {tab.sample: gr.skip()}
