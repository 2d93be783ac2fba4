"""gr.Blocks with two differences. Its errors are sentences. It spends a tenth of the time on inputs and outputs."""

from __future__ import annotations

import copy
from typing import Any

import gradio as gr
from gradio.block_function import BlockFunction
from gradio.blocks import convert_component_dict_to_list
from gradio.components import _Keywords
from gradio.utils import is_prop_update

from pipeline.core.errors import PipelineError
from pipeline.ui.server.events import REFUSAL
from pipeline.ui.shared.failures import log_unexpected
from pipeline.ui.shared.markup import escape_text

PLAIN = (gr.Textbox, gr.Number, gr.Slider, gr.Checkbox, gr.Radio, gr.Dropdown, gr.HTML, gr.State, gr.Timer)
"""Components whose values are text, numbers and lists of them."""
UPDATED = (gr.Button, gr.Textbox)
SENT = {"__type__", "value", "visible", "interactive", "placeholder", "variant"}
"""Updates of these properties are sent to the browser as they are: nothing on the server reads them again."""


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

    async def preprocess_data(
        self, block_fn: BlockFunction, inputs: list[Any], state: Any, explicit_call: bool = False
    ) -> list[Any]:
        """As Gradio's, which sends each input to a thread of its own: half of the time of a tick. No field of this page takes
        files, so none needs one.
        """
        if (
            block_fn.component_prop_inputs
            or not block_fn.preprocess
            or not all(isinstance(block, PLAIN) for block in block_fn.inputs)
        ):
            return await super().preprocess_data(block_fn, inputs, state, explicit_call)
        self.validate_inputs(block_fn, inputs)
        return [_value_of(block, value, state) for block, value in zip(block_fn.inputs, inputs, strict=False)]

    async def postprocess_data(
        self, block_fn: BlockFunction, predictions: list[Any] | dict[Any, Any], state: Any
    ) -> list[Any]:
        """As Gradio's, which makes a new component for each output that is skipped or updated, and sends each value to a thread
        of its own: 40 ms of each tick of the Train tab.
        """
        if block_fn.batch or block_fn.is_validator_function or not block_fn.postprocess:
            return await super().postprocess_data(block_fn, predictions, state)
        outputs = list(block_fn.outputs)
        if not outputs or _is_skip(predictions):  # a handler without outputs returns None
            predictions = [gr.skip()] * len(outputs)
        else:
            if isinstance(predictions, dict) and predictions:
                predictions = convert_component_dict_to_list(outputs, predictions)
            if len(outputs) == 1:
                predictions = [predictions]
        self.validate_outputs(block_fn, predictions)
        found: list[Any] = []
        for block, value in zip(outputs, predictions, strict=False):  # surplus values were warned of
            if value is _Keywords.FINISHED_ITERATING:
                found.append(None)
            elif _is_skip(value):
                found.append(None if block.stateful else gr.skip())
            elif _is_sent_as_it_is(block, value):
                found.append(value)
            elif _is_plain(block, value):
                found.append(_shown(block, value, state))
            else:
                one = copy.copy(block_fn)
                one.outputs = [block]
                found += await super().postprocess_data(one, value, state)
        return found


def _is_plain(block: Any, value: Any) -> bool:
    return isinstance(block, PLAIN) and not isinstance(value, gr.blocks.Block) and not is_prop_update(value)


def _is_sent_as_it_is(block: Any, value: Any) -> bool:
    return isinstance(block, UPDATED) and is_prop_update(value) and value.keys() <= SENT


def _shown(block: Any, value: Any, state: Any) -> Any:
    """What a browser is sent of the `value` that a handler returned."""
    if block.stateful:
        state[block._id] = value
        return None
    return _of_session(block, state).postprocess(value)


def _value_of(block: Any, value: Any, state: Any) -> Any:
    """What a handler is given of the `value` that a browser sent."""
    if block.stateful:
        return state[block._id]
    return _of_session(block, state).preprocess(value)


def _of_session(block: Any, state: Any) -> Any:
    """The component with the choices that this session was sent."""
    return state.get(block._id, block)


def _is_skip(value: Any) -> bool:
    return isinstance(value, dict) and value == gr.skip()


def _note_refusal(request: Any) -> None:
    refusal = getattr(getattr(request, "request", None), "scope", {}).get(REFUSAL)
    if refusal is not None:
        refusal.is_told = True
