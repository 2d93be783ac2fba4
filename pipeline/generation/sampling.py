"""Completes a prompt with a causal language model, token by token. Does not depend on processes or revisions.

The trainer calls it between two steps, so it restores the model's mode and every random state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.generation.logits_process import LogitsProcessor, LogitsProcessorList
from transformers.generation.stopping_criteria import StoppingCriteria, StoppingCriteriaList

from pipeline.core.errors import InputError, PipelineError, require
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
    `should_stop` is called at every token. Raises InputError when the prompt fills all positions of the model, and
    PipelineError when the model's logits are not finite.
    """
    token_ids = encode(tokenizer, prompt)
    positions = model.config.max_position_embeddings
    max_new_tokens, note = _fit_new_tokens(len(token_ids), sampling.max_new_tokens, positions)
    config = _generation_config(tokenizer, sampling, max_new_tokens)
    prompt_ids = torch.tensor([token_ids], device=model.device)  # int64[1, time]
    texts = []
    with _preserved_state(model):
        for sample in range(sampling.samples):
            writer = TextStreamer(tokenizer, sample, on_text)
            if not should_stop():
                _set_seed(model.device, sampling.seed + sample)
                model.generate(  # type: ignore[operator]  # PreTrainedModel's type lacks the mixin's `generate`
                    prompt_ids,
                    attention_mask=torch.ones_like(prompt_ids),
                    generation_config=config,
                    streamer=writer,
                    logits_processor=LogitsProcessorList([_RefuseNonFinite()]),
                    stopping_criteria=StoppingCriteriaList([_StopWhen(should_stop)]),
                )
            writer.finish(max_new_tokens, config.eos_token_id, note)
            texts.append(writer.text)
    return texts


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


def _generation_config(tokenizer: PreTrainedTokenizerBase, sampling: Sampling, max_new_tokens: int) -> GenerationConfig:
    eos_id = tokenizer.eos_token_id
    shared: dict[str, Any] = {
        "max_new_tokens": max_new_tokens,
        "eos_token_id": eos_id,
        "pad_token_id": eos_id,
        "use_cache": True,
    }
    if sampling.temperature == 0:
        return GenerationConfig(do_sample=False, **shared)
    # top_k=0 is passed explicitly: the default of transformers is 50.
    return GenerationConfig(
        do_sample=True, temperature=sampling.temperature, top_p=sampling.top_p, top_k=sampling.top_k, **shared
    )


@contextmanager
def _preserved_state(model: PreTrainedModel) -> Iterator[None]:
    """Evaluation mode with a forked random state; restores the previous mode and random state at the end."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.random.fork_rng(devices=[model.device] if model.device.type == "cuda" else []):
            yield
    finally:
        for module, training in modes:
            module.training = training


def _set_seed(device: torch.device, seed: int) -> None:
    """Seed only the generators that `_preserved_state` restores; torch.manual_seed would also seed every other GPU."""
    torch.random.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)


class _RefuseNonFinite(LogitsProcessor):
    """Refuses logits that are not finite: sampling from them fails on the CPU and kills a CUDA process."""

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        if not torch.isfinite(scores).all():
            raise PipelineError(
                "The model predicts NaN or infinity; choose an earlier revision, or train with a lower learning rate."
            )
        return scores


class _StopWhen(StoppingCriteria):
    """Ends generation as soon as `should_stop` returns true."""

    def __init__(self, should_stop: Callable[[], bool]) -> None:
        self._should_stop = should_stop

    def __call__(self, input_ids: torch.LongTensor, scores: Any, **kwargs: Any) -> torch.BoolTensor:
        return torch.full((input_ids.shape[0],), self._should_stop(), device=input_ids.device)  # type: ignore[return-value]
