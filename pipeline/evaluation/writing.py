"""Writes the completions of many prompts with one model, a batch at a time. Does not depend on processes or revisions."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from pipeline.generation.batch import Prefill, Text, not_finite, step
from pipeline.generation.decoder import Decoder
from pipeline.generation.ending import Ends
from pipeline.generation.next_token import Sampler
from pipeline.generation.sampling import encode
from pipeline.generation.seats import MAX_BATCH_TEXTS
from pipeline.generation.settings import Sampling
from pipeline.generation.text_streamer import TextStreamer


@dataclass(frozen=True)
class Wanted:
    """One prompt and how to complete it."""

    prompt: str
    sampling: Sampling
    ends: Ends


def write_all(decoder: Decoder, tokenizer: PreTrainedTokenizerBase, wanted: Iterable[Wanted]) -> Iterator[list[str]]:
    """The completions of each prompt, in order. Those of a prompt that fills the model's positions are empty. Raises
    PipelineError when the model's logits are not finite.
    """
    waiting = iter(wanted)
    open_texts: deque[list[Text]] = deque()
    has_more = True
    while has_more or open_texts:
        active = [text for texts in open_texts for text in texts if not text.is_done]
        while has_more and len(active) < MAX_BATCH_TEXTS:
            if (one := next(waiting, None)) is None:
                has_more = False
            else:
                open_texts.append(_texts(decoder, tokenizer, one))
                active += [text for text in open_texts[-1] if not text.is_done]
        if active and step(decoder, tokenizer, active[:MAX_BATCH_TEXTS]).broken:
            raise not_finite()
        while open_texts and all(text.is_done for text in open_texts[0]):
            yield [text.streamer.text for text in open_texts.popleft()]


def _texts(decoder: Decoder, tokenizer: PreTrainedTokenizerBase, wanted: Wanted) -> list[Text]:
    token_ids = encode(tokenizer, wanted.prompt)
    num_new = min(wanted.sampling.max_new_tokens, decoder.positions - len(token_ids))
    read = Prefill(decoder, token_ids, num_new, wanted.sampling.samples)
    texts = [
        Text(read, Sampler(wanted.sampling, sample), TextStreamer(tokenizer, sample, None, ending=wanted.ends))
        for sample in range(wanted.sampling.samples)
    ]
    if num_new < 1:
        for text in texts:
            text.finish("length")
    return texts
