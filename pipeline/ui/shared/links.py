"""Addresses of this page that people pass on."""

from __future__ import annotations

import gradio as gr

from pipeline.core.settings import Settings


def permalink(settings: Settings, request: gr.Request, example_id: str) -> str:
    """Where the example opens. On a Space the outer page, which is the one people see, hands its query on."""
    if settings.space_id:
        return f"https://huggingface.co/spaces/{settings.space_id}?example={example_id}"
    scheme = request.headers.get("x-forwarded-proto", "http").partition(",")[0].strip()
    return f"{scheme}://{request.headers.get('host', 'localhost')}/?example={example_id}"
