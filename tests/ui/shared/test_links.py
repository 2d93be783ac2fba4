"""A permalink leads to the page that people see."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
import pytest

from pipeline.core.settings import Settings
from pipeline.ui.shared.links import permalink


@pytest.mark.parametrize(
    ("space", "headers", "link"),
    [
        (None, {"host": "127.0.0.1:7860"}, "http://127.0.0.1:7860/?example=abcd1234"),
        (None, {"host": "a.example", "x-forwarded-proto": "https,http"}, "https://a.example/?example=abcd1234"),
        ("me-parrot.hf.space", {"host": "10.0.0.1:7860"}, "https://me-parrot.hf.space/?example=abcd1234"),
    ],
)
def test_a_link_opens_the_visible_page(tmp_path: Path, space: str | None, headers: dict[str, str], link: str) -> None:
    request = gr.Request(headers=headers)
    request.kwargs["headers"] = headers
    assert permalink(Settings(home=tmp_path, space_host=space), request, "abcd1234") == link
