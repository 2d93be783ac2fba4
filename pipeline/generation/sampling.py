"""Completes a prompt with a causal language model, token by token. Knows nothing of processes or revisions.

The trainer calls it between two steps: it leaves the model's mode and every random state as it found them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.generation.stopping_criteria import StoppingCriteria, StoppingCriteriaList
from transformers.generation.streamers import BaseStreamer

from pipeline.errors import InputError, require
from pipeline.generation.pieces import Piece
from pipeline.generation.settings import Sampling

OnText = Callable[[Piece], None]


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
    asked at every token. Raises InputError when the prompt fills all positions of the model.
    """
    token_ids = encode(tokenizer, prompt)
    positions = model.config.max_position_embeddings
    max_new_tokens, note = _fitting(len(token_ids), sampling.max_new_tokens, positions)
    config = _generation_config(tokenizer, sampling, max_new_tokens)
    prompt_ids = torch.tensor([token_ids], device=model.device)  # int64[1, time]
    texts = []
    with _undisturbed(model):
        for sample in range(sampling.samples):
            writer = _Writer(tokenizer, sample, on_text)
            if not should_stop():
                _set_seed(model.device, sampling.seed + sample)
                model.generate(  # type: ignore[operator]  # its own type is a mixin's
                    prompt_ids,
                    attention_mask=torch.ones_like(prompt_ids),
                    generation_config=config,
                    streamer=writer,
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


class _Writer(BaseStreamer):
    """Turns one sample's tokens into pieces of exact text.

    A character may span several tokens, and decoding tokens one by one would tear it. So everything is decoded each
    time, and a replacement mark at the end, which the next token may still turn into a character, is held back.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, sample: int, on_text: OnText | None) -> None:
        self._tokenizer = tokenizer
        self._sample = sample
        self._on_text = on_text
        self._token_ids: list[int] | None = None  # None until the prompt, which comes first, has passed
        self._started = time.perf_counter()
        self.text = ""

    def put(self, value: torch.Tensor) -> None:
        if self._token_ids is None:
            self._token_ids = []
            return
        self._token_ids += value.tolist()
        self._send(self._decoded().rstrip("\N{REPLACEMENT CHARACTER}"))

    def end(self) -> None:
        """Nothing to do: `finish` also serves a sample that was stopped before it began."""

    def finish(self, max_new_tokens: int, eos_id: int | None, note: str) -> None:
        """Send what was held back and why the sample ended."""
        token_ids = self._token_ids or []
        if token_ids and token_ids[-1] == eos_id:
            reason = "end-of-text"
        else:
            reason = "length" if len(token_ids) == max_new_tokens else "stopped"
        self._send(self._decoded(), done=True, finish=reason, note=note)

    def _decoded(self) -> str:
        text = self._tokenizer.decode(
            self._token_ids or [], skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        assert isinstance(text, str)
        return text

    def _send(self, text: str, **facts: Any) -> None:
        new = text[len(self.text) :]
        self.text = text
        if self._on_text is not None:
            seconds = time.perf_counter() - self._started
            tokens = len(self._token_ids or [])
            self._on_text(Piece(sample=self._sample, text=new, tokens=tokens, seconds=seconds, **facts))


class _StopWhen(StoppingCriteria):
    """Ends the generation as soon as somebody wants it to."""

    def __init__(self, should_stop: Callable[[], bool]) -> None:
        self._should_stop = should_stop

    def __call__(self, input_ids: torch.LongTensor, scores: Any, **kwargs: Any) -> torch.BoolTensor:
        return torch.full((input_ids.shape[0],), self._should_stop(), device=input_ids.device)  # type: ignore[return-value]
