"""Files of a prepared corpus as text, read back from its tokens. Does not depend on torch."""

from __future__ import annotations

import itertools
from typing import Protocol

import numpy as np

from pipeline.artifacts.corpus import Corpus

MAX_SEARCHED = 50_000_000
"""Tokens at the beginning of a split that files are drawn from."""


class Decodes(Protocol):
    """A tokenizer of transformers."""

    def decode(self, token_ids: list[int], *, skip_special_tokens: bool) -> object: ...


def drawn_files(corpus: Corpus, split: str, tokenizer: Decodes, *, max_tokens: int) -> list[str]:
    """The texts of files of one split, drawn with a fixed seed, up to `max_tokens` in all; none of an empty split. Raises
    OSError when the token file is not there.
    """
    if not corpus.num_tokens(split):
        return []
    tokens = corpus.open_tokens(split)[:MAX_SEARCHED]
    bounds = [0, *(np.flatnonzero(tokens == corpus.eos_id) + 1).tolist(), len(tokens)]
    files = list(itertools.pairwise(bounds))
    texts, left = [], max_tokens
    for at in np.random.default_rng(0).permutation(len(files)):
        start, end = files[at]
        text = str(tokenizer.decode(tokens[start : min(end, start + left)].tolist(), skip_special_tokens=True))
        texts += [text] if text.strip() else []
        left -= end - start
        if left <= 0:
            break
    return texts
