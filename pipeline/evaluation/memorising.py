"""How much of its training files a model has by heart: it is given the beginning of a file and writes the likeliest tokens.

Held-out files beside them tell how much is copied from elsewhere, or is what any such file says.
"""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from pipeline.evaluation.writing import Wanted, write_all
from pipeline.generation.decoder import Decoder
from pipeline.generation.ending import LENGTH, Ending
from pipeline.generation.sampling import encode
from pipeline.generation.settings import Sampling

GIVEN_TOKENS, CONTINUED_TOKENS = 64, 32
NUM_FILES = 200
MAX_TOKENS = 2_000_000
"""Of the files that these are drawn from."""


def known_by_heart(decoder: Decoder, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> dict[str, object]:
    """How many of the first NUM_FILES texts that are long enough are continued as they stand there, and the share of the
    characters before the first other one.
    """
    wanted, expected = [], []
    for text in texts:
        token_ids = encode(tokenizer, text)[: GIVEN_TOKENS + CONTINUED_TOKENS]
        given = str(tokenizer.decode(token_ids[:GIVEN_TOKENS]))
        # The beginning must be divided into the same tokens by itself, else the model is not given what it has read.
        if len(token_ids) < GIVEN_TOKENS + CONTINUED_TOKENS or encode(tokenizer, given) != token_ids[:GIVEN_TOKENS]:
            continue
        sampling = Sampling(max_new_tokens=CONTINUED_TOKENS, temperature=0)
        wanted.append(Wanted(given, sampling, Ending(given, LENGTH)))
        expected.append(str(tokenizer.decode(token_ids[GIVEN_TOKENS:])))
        if len(wanted) == NUM_FILES:
            break
    written = [texts[0] for texts in write_all(decoder, tokenizer, wanted)]
    if not written:
        return {"files": 0, "whole": None, "share": None}
    shares = [_shared(one, other) / max(1, len(other)) for one, other in zip(written, expected, strict=True)]
    whole = sum(one == other for one, other in zip(written, expected, strict=True))
    return {"files": len(written), "whole": whole / len(written), "share": sum(shares) / len(shares)}


def _shared(one: str, other: str) -> int:
    """Characters before the first that differs."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
