"""Links to this page that people share."""

from __future__ import annotations

import gradio as gr
from starlette.requests import Request

from pipeline.core.settings import Settings


def origin(settings: Settings, request: gr.Request | Request) -> str:
    """The address of the page, without a slash at the end. On a Space it is the direct one and not that of the page
    around it, which would answer with a link card of its own.
    """
    if settings.space_host:
        return f"https://{settings.space_host}"
    scheme = request.headers.get("x-forwarded-proto", "http").partition(",")[0].strip()
    return f"{scheme}://{request.headers.get('host', 'localhost')}"


def permalink(settings: Settings, request: gr.Request | Request, example_id: str) -> str:
    """The URL that opens the example."""
    return f"{origin(settings, request)}/?example={example_id}"
