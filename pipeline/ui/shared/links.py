"""Links to this page that people share."""

from __future__ import annotations

import gradio as gr

from pipeline.core.settings import Settings


def permalink(settings: Settings, request: gr.Request, example_id: str) -> str:
    """The URL that opens the example. On a Space it is the visible outer page's, which passes its query on."""
    if settings.space_id:
        return f"https://huggingface.co/spaces/{settings.space_id}?example={example_id}"
    scheme = request.headers.get("x-forwarded-proto", "http").partition(",")[0].strip()
    return f"{scheme}://{request.headers.get('host', 'localhost')}/?example={example_id}"
