"""Completes a prompt with a causal language model, token by token. Knows nothing of processes or revisions.

The trainer calls it between two steps: it leaves the model's mode and every random state as it found them.
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

    `on_text` is called with every piece as it is written; the last of each sample says why it ended. `should_stop` is
    asked at every token. Raises InputError when the prompt fills all positions of the model, and
    PipelineError when the model's predictions are not numbers.
    """
    token_ids = encode(tokenizer, prompt)
    positions = model.config.max_position_embeddings
    max_new_tokens, note = _fitting(len(token_ids), sampling.max_new_tokens, positions)
    config = _generation_config(tokenizer, sampling, max_new_tokens)
    prompt_ids = torch.tensor([token_ids], device=model.device)  # int64[1, time]
    texts = []
    with _undisturbed(model):
        for sample in range(sampling.samples):
            writer = TextStreamer(tokenizer, sample, on_text)
            if not should_stop():
                _set_seed(model.device, sampling.seed + sample)
                model.generate(  # type: ignore[operator]  # its own type is a mixin's
                    prompt_ids,
                    attention_mask=torch.ones_like(prompt_ids),
                    generation_config=config,
                    streamer=writer,
                    logits_processor=LogitsProcessorList([_OnlyNumbers()]),
                    stopping_criteria=StoppingCriteriaList([_StopWhen(should_stop)]),
                )
            writer.finish(max_new_tokens, config.eos_token_id, note)
            texts.append(writer.text)
    return texts


def encode(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list[int]:
    """The prompt's token ids. A literal end-of-text in it is plain text: nobody ends a file by writing about it."""
    token_ids = tokenizer(prompt, add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"]
    require(bool(token_ids), "prompt", prompt, "write something to go on with")
    return token_ids


def _fitting(num_prompt: int, wanted: int, positions: int) -> tuple[int, str]:
    """How many new tokens fit behind the prompt, and what to say about it.

    Past the last position the CPU raises IndexError, and CUDA fails for good.
    """
    room = positions - num_prompt
    if room < 1:
        raise InputError(
            f"The prompt is {num_prompt:,} tokens long; shorten it to {positions - 1:,} or fewer, "
            f"because this model reads {positions:,} tokens."
        )
    if wanted <= room:
        return wanted, ""
    return room, (
        f"Only {room:,} of {wanted:,} new tokens fit: this model reads {positions:,} tokens, "
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
    # top_k=0 is said outright: left out, the library takes 50.
    return GenerationConfig(
        do_sample=True, temperature=sampling.temperature, top_p=sampling.top_p, top_k=sampling.top_k, **shared
    )


@contextmanager
def _undisturbed(model: PreTrainedModel) -> Iterator[None]:
    """Evaluation mode and random numbers of its own; mode and random state are put back behind it."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.random.fork_rng(devices=[model.device] if model.device.type == "cuda" else []):
            yield
    finally:
        for module, training in modes:
            module.training = training


def _set_seed(device: torch.device, seed: int) -> None:
    """Seed only what `_undisturbed` restores; torch.manual_seed would also seed every other GPU."""
    torch.random.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)


class _OnlyNumbers(LogitsProcessor):
    """Refuses predictions that are not numbers: drawing from them fails on the CPU and is the end of a CUDA process."""

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        if not torch.isfinite(scores).all():
            raise PipelineError(
                "The model predicts NaN or infinity; choose an earlier revision, or train with a lower learning rate."
            )
        return scores


class _StopWhen(StoppingCriteria):
    """Ends the generation as soon as somebody wants it to."""

    def __init__(self, should_stop: Callable[[], bool]) -> None:
        self._should_stop = should_stop

    def __call__(self, input_ids: torch.LongTensor, scores: Any, **kwargs: Any) -> torch.BoolTensor:
        return torch.full((input_ids.shape[0],), self._should_stop(), device=input_ids.device)  # type: ignore[return-value]
