"""The prompt that a link names: one of the course's by its name, or a text. Nothing is completed before a press."""

from __future__ import annotations

import gradio as gr

from pipeline.config.prompts import course_prompts
from pipeline.core.errors import InputError
from pipeline.core.text import surrogate_at
from pipeline.ui.shared.formats import whole
from pipeline.ui.shared.texts import t

MAX_LINKED_CHARACTERS = 2_000
"""Of a text in a link. page.js also keeps the encoded one under 4,000, as every request of the page repeats it twice."""
MAX_NAME_CHARACTERS = 80


def linked_prompt(request: gr.Request) -> str | None:
    """Raises InputError when there is no such prompt, or the text is too long."""
    if name := request.query_params.get("prompt"):
        prompts = {prompt.name.casefold(): prompt.text for prompt in course_prompts()}
        if name.strip().casefold() not in prompts:
            names = ", ".join(prompt.name for prompt in course_prompts())
            raise InputError(t("link.no_prompt", name=name[:MAX_NAME_CHARACTERS], names=names))
        return prompts[name.strip().casefold()]
    text = request.query_params.get("text")
    if not text:
        return None
    if len(text) > MAX_LINKED_CHARACTERS:
        raise InputError(t("link.long_text", n=whole(len(text)), most=whole(MAX_LINKED_CHARACTERS)))
    at = surrogate_at(text)
    return text if at is None else text[:at]
