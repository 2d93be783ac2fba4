"""Completes a prompt with a causal language model. Does not depend on processes or revisions.

The trainer calls it between two steps, so it changes neither the model's mode nor any random state.
"""

from __future__ import annotations

from collections.abc import Callable

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from pipeline.core.errors import InputError, require
from pipeline.generation.batch import Prefill, Text, not_finite, step
from pipeline.generation.decoder import Decoder, as_it_is
from pipeline.generation.ending import Ending
from pipeline.generation.next_token import Sampler
from pipeline.generation.settings import Sampling
from pipeline.generation.text_streamer import OnText, TextStreamer


def complete(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompt: str,
    sampling: Sampling,
    *,
    on_text: OnText | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> list[str]:
    """The new text of each of `sampling.samples` completions, without the prompt.

    `on_text` is called with every chunk as it is generated; the last chunk of each sample has its finish reason.
    `should_stop` is called before every token. Raises InputError when the prompt fills all positions of the model, and
    PipelineError when the model's logits are not finite.
    """
    decoder = as_it_is(model)
    texts = begin(decoder, tokenizer, prompt, sampling, on_text=on_text)
    while unfinished := [text for text in texts if not text.is_done]:
        if should_stop():
            for text in unfinished:
                text.finish("stopped")
        elif step(decoder, tokenizer, unfinished).broken:
            raise not_finite()
    return [text.streamer.text for text in texts]


def begin(
    decoder: Decoder,
    tokenizer: PreTrainedTokenizerBase,
    prompt: str,
    sampling: Sampling,
    *,
    on_text: OnText | None = None,
    engine: str = "",
) -> list[Text]:
    """The samples of a prompt, none of them written yet. `engine`: for their chunks. Raises InputError when the prompt
    leaves no position.
    """
    token_ids = encode(tokenizer, prompt)
    max_new_tokens, note = _fit_new_tokens(len(token_ids), sampling.max_new_tokens, decoder.positions)
    read = Prefill(decoder, token_ids, max_new_tokens, sampling.samples)
    ending = Ending(prompt, sampling.stop_at)
    return [
        Text(read, Sampler(sampling, sample), TextStreamer(tokenizer, sample, on_text, note, engine, ending))
        for sample in range(sampling.samples)
    ]


def encode(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list[int]:
    """The prompt's token ids. A literal end-of-text is encoded as plain text. Raises InputError if there are none."""
    token_ids = tokenizer(prompt, add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"]
    require(bool(token_ids), "prompt", prompt, "write something to go on with")
    return token_ids


def _fit_new_tokens(num_prompt: int, requested: int, positions: int) -> tuple[int, str]:
    """How many new tokens fit after the prompt, and a note when these are fewer than requested.

    Past the last position the CPU raises IndexError, and a CUDA process cannot recover.
    """
    available = positions - num_prompt
    if available < 1:
        raise InputError(
            f"The prompt is {num_prompt:,} tokens long; shorten it to {positions - 1:,} or fewer, "
            f"because this model reads {positions:,} tokens."
        )
    if requested <= available:
        return requested, ""
    return available, (
        f"Only {available:,} of {requested:,} new tokens fit: this model reads {positions:,} tokens, "
        f"{num_prompt:,} of them are the prompt."
    )
