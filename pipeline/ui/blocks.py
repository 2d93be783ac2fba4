"""gr.Blocks with two differences: its errors are sentences, and what a handler leaves as it is costs nothing."""

from __future__ import annotations

import copy
from typing import Any

import gradio as gr
from gradio.block_function import BlockFunction
from gradio.blocks import convert_component_dict_to_list

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

    async def postprocess_data(
        self, block_fn: BlockFunction, predictions: list[Any] | dict[Any, Any], state: Any
    ) -> list[Any]:
        """As Gradio's, which makes a new component for each output that is skipped: 40 ms of each tick of the Train tab."""
        skipped = gr.skip()
        if _is_skip(predictions):
            return [skipped] * len(block_fn.outputs)
        if isinstance(predictions, dict) and predictions:
            predictions = convert_component_dict_to_list(list(block_fn.outputs), predictions)
        if len(block_fn.outputs) < 2 or not isinstance(predictions, (list, tuple)):
            return await super().postprocess_data(block_fn, predictions, state)
        changed = [number for number, value in enumerate(predictions) if not _is_skip(value)]
        part = copy.copy(block_fn)
        part.outputs = [block_fn.outputs[number] for number in changed]
        values = [predictions[number] for number in changed]
        found = await super().postprocess_data(part, values[0] if len(values) == 1 else values, state) if values else []
        answers = dict(zip(changed, found, strict=True))
        return [answers.get(number, skipped) for number in range(len(block_fn.outputs))]


def _is_skip(value: Any) -> bool:
    return isinstance(value, dict) and value == gr.skip()


def _note_refusal(request: Any) -> None:
    refusal = getattr(getattr(request, "request", None), "scope", {}).get(REFUSAL)
    if refusal is not None:
        refusal.is_told = True
