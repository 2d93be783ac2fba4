"""Converts a byte-level BPE of `tokenizers` to ranks with which tiktoken gives the same ids, where that is possible.

`tokenizers` joins two adjacent tokens if the pair is listed as a merge, lowest number first. tiktoken joins them if
their concatenation is a token, lowest rank first. tiktoken gives the same ids for every text if it has only the tokens
that `tokenizers` makes of their own bytes alone, ranked by the number of the last merge that makes each.

Proof: assume both libraries are in the same state, in which x and y are adjacent and spell such a token T. No merge has
crossed the ends of T yet, so the merges inside T are those of encoding T alone. Encoding T alone passes exactly one
state of two tokens, the pair of its last merge. So x and y are that pair, and both libraries see the same candidates in
the same order. A merge to any other token never finds its pair.
"""

from __future__ import annotations

import json
from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    Pair = tuple[str, str]


class Unsuited(Exception):
    """tiktoken cannot replace a tokenizer; the message says why in one clause, for people."""


def tokens_in_order(tokenizer: Tokenizer) -> list[tuple[bytes, int]]:
    """The bytes and the id of each token that a text can be encoded to: the 256 bytes, then by number of merge.

    Raises Unsuited when the tokenizer is not a byte-level BPE exactly like GPT-2's.
    """
    parts = json.loads(tokenizer.to_str())
    _check(parts)
    vocabulary: dict[str, int] = parts["model"]["vocab"]
    letters = byte_letters()
    if missing := [letter for letter in letters if letter not in vocabulary]:
        raise Unsuited(f"{len(missing)} of the 256 bytes are no tokens")
    # If a pair is listed twice, the later line counts, as in `tokenizers`.
    numbers = {(first, second): number for number, (first, second) in enumerate(parts["model"]["merges"])}
    singles = [(bytes([byte]), vocabulary[letter]) for letter, byte in letters.items()]
    made = [
        (number, token)
        for token, number in _last_merges(numbers).items()
        if [symbol.id for symbol in tokenizer.model.tokenize(token)] == [vocabulary[token]]
    ]
    merged = [(bytes(letters[letter] for letter in token), vocabulary[token]) for _, token in sorted(made)]
    return singles + merged


def byte_letters() -> dict[str, int]:
    """Maps the letters of a byte-level vocabulary to bytes: the same character if printable, else one from 256 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + index): byte for index, byte in enumerate(others)}


def _last_merges(numbers: dict[Pair, int]) -> dict[str, int]:
    """For each token that merges lead to, the number of the last merge when it is made of its own bytes alone."""
    pairs: defaultdict[str, list[Pair]] = defaultdict(list)
    for first, second in numbers:
        pairs[first + second].append((first, second))
    last = {token: found[0] if len(found) == 1 else _last_pair(token, numbers) for token, found in pairs.items()}
    return {token: numbers[pair] for token, pair in last.items() if pair}


def _last_pair(token: str, numbers: dict[Pair, int]) -> Pair | None:
    """The last pair before the merges complete `token`; None if they stop before that."""
    symbols = list(token)
    while len(symbols) > 2:
        candidates = [(numbers[pair], index) for index, pair in enumerate(pairwise(symbols)) if pair in numbers]
        if not candidates:
            return None
        _, index = min(candidates)
        symbols[index : index + 2] = [symbols[index] + symbols[index + 1]]
    pair = (symbols[0], symbols[1])
    return pair if pair in numbers else None


def _check(parts: dict[str, Any]) -> None:
    model = parts["model"]
    if model["type"] != "BPE":
        raise Unsuited(f"its model is {model['type']}, not BPE")
    for option in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback", "ignore_merges"):
        if model.get(option):
            raise Unsuited(f"its BPE sets {option}")
    if parts["normalizer"]:
        raise Unsuited("it changes texts before it cuts them")
    if not _is_gpt2s(parts["pre_tokenizer"]):
        raise Unsuited("it cuts texts to words otherwise than GPT-2's")
    if (parts["post_processor"] or {"type": "ByteLevel"})["type"] != "ByteLevel":
        raise Unsuited("it changes the ids of a text afterwards")
    if not all(token["special"] for token in parts["added_tokens"]):
        raise Unsuited("it has added tokens that are not special")


def _is_gpt2s(pre_tokenizer: dict[str, Any] | None) -> bool:
    """Whether it is the ByteLevel of GPT-2, alone or as the only member of a sequence."""
    if pre_tokenizer and pre_tokenizer["type"] == "Sequence" and len(pre_tokenizer["pretokenizers"]) == 1:
        return _is_gpt2s(pre_tokenizer["pretokenizers"][0])
    return bool(
        pre_tokenizer
        and pre_tokenizer["type"] == "ByteLevel"
        and not pre_tokenizer["add_prefix_space"]
        and pre_tokenizer.get("use_regex", True)
    )
