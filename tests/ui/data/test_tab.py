"""What the Data tab says of a scan that is refused, beside the figures of the one before."""

from __future__ import annotations

import asyncio
from typing import Any

import gradio as gr
import pytest

from pipeline.core.settings import Settings
from pipeline.ui.data.tab import DataTab
from pipeline.ui.shared.engine import Engine
from tests.ui.conftest import request_of

BEFORE = ("installed", 1_000)


@pytest.fixture
def tab(settings: Settings) -> DataTab:
    tab = DataTab(Engine(settings))
    with gr.Blocks() as page:
        tab.build()
        tab.build_main()
        tab.connect(page)
    return tab


def looked(tab: DataTab, asked: Any, path: str) -> list[dict[Any, Any]]:
    async def updates() -> list[dict[Any, Any]]:
        look = tab.look(asked, "files", path, "", ["pandas"], "substring", 1_000, request_of())
        return [update async for update in look]

    return asyncio.run(updates())


@pytest.mark.parametrize(("asked", "is_told"), [(None, False), (BEFORE, True)])
def test_an_error_above_older_figures_says_whose_they_are(tab: DataTab, asked: Any, is_told: bool) -> None:
    for path in ("", "/nowhere/at/all"):  # refused at once; refused by what reads it
        told = [update for update in looked(tab, asked, path) if "notice" in str(update.get(tab.progress, ""))]
        assert len(told) == 1
        assert ("the scan before: installed" in told[0][tab.progress]) == is_told
        assert told[0][tab.asked] == asked, "other keywords are counted in what is shown"
