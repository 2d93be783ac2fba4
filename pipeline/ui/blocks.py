"""gr.Blocks whose errors are sentences: nobody is shown a traceback, and none but our own mistakes are logged."""

from __future__ import annotations

from typing import Any

import gradio as gr

from pipeline.errors import PipelineError
from pipeline.ui.events import REFUSAL
from pipeline.ui.failures import log_unexpected
from pipeline.ui.markup import escape_text


class StudioBlocks(gr.Blocks):
    async def process_api(self, *args: Any, **settings: Any) -> dict[str, Any]:
        """As Gradio's; what is raised is a gr.Error, whose text is shown as HTML: so escaped."""
        try:
            return await super().process_api(*args, **settings)
        except gr.Error as error:
            error.print_exception = False  # a choice that is not on offer, say: the caller's mistake
            _note_refusal(settings.get("request"))
            raise
        except PipelineError as error:
            _note_refusal(settings.get("request"))
            raise gr.Error(escape_text(str(error)), print_exception=False) from error
        except Exception as error:
            raise gr.Error(escape_text(log_unexpected(error)), print_exception=False) from error


def _note_refusal(request: Any) -> None:
    refusal = getattr(getattr(request, "request", None), "scope", {}).get(REFUSAL)
    if refusal is not None:
        refusal.is_told = True
