"""What tiktoken must be told so that it makes the ids of a byte-level BPE as `tokenizers` does, where it can.

`tokenizers` joins two neighbours when the pair is listed as a merge, lowest number first; tiktoken when what they spell
together is a token, lowest rank first. Told only of tokens that `tokenizers` makes of their own bytes alone, each with
the number of the last merge that takes, tiktoken does the same on every text. Say both have come to the same state, in
which x and y are neighbours that spell such a token T. No merge has crossed the ends of T yet, so between them happened
what happens to T alone; T alone passes exactly one state of two tokens, the pair of its last merge; so x and y are that
pair, and both see the same candidates in the same order. A merge to any other token never has its pair at hand.
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
    """Why tiktoken cannot stand in for a tokenizer: one clause, for people."""


def tokens_in_order(tokenizer: Tokenizer) -> list[tuple[bytes, int]]:
    """The bytes and the id of each token that a text can be cut into: the 256 bytes, then by number of merge.

    Raises Unsuited when the tokenizer is not a byte-level BPE exactly as GPT-2's.
    """
    parts = json.loads(tokenizer.to_str())
    _check(parts)
    vocabulary: dict[str, int] = parts["model"]["vocab"]
    letters = byte_letters()
    if missing := [letter for letter in letters if letter not in vocabulary]:
        raise Unsuited(f"{len(missing)} of the 256 bytes are no tokens")
    # Of a pair listed twice the later line counts, as in `tokenizers`.
    numbers = {(first, second): number for number, (first, second) in enumerate(parts["model"]["merges"])}
    singles = [(bytes([byte]), vocabulary[letter]) for letter, byte in letters.items()]
    made = [
        (number, token)
        for token, number in _last_merges(numbers).items()
        if [piece.id for piece in tokenizer.model.tokenize(token)] == [vocabulary[token]]
    ]
    merged = [(bytes(letters[letter] for letter in token), vocabulary[token]) for _, token in sorted(made)]
    return singles + merged


def byte_letters() -> dict[str, int]:
    """The letter that stands for each byte in a byte-level vocabulary: itself where it can be seen, else one from 256 on."""
    seen = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    unseen = [byte for byte in range(256) if byte not in seen]
    return {chr(byte): byte for byte in seen} | {chr(256 + place): byte for place, byte in enumerate(unseen)}


def _last_merges(numbers: dict[Pair, int]) -> dict[str, int]:
    """For each token that merges lead to, the number of the last one when it is made of its own bytes alone."""
    pairs: defaultdict[str, list[Pair]] = defaultdict(list)
    for first, second in numbers:
        pairs[first + second].append((first, second))
    last = {token: found[0] if len(found) == 1 else _last_pair(token, numbers) for token, found in pairs.items()}
    return {token: numbers[pair] for token, pair in last.items() if pair}


def _last_pair(token: str, numbers: dict[Pair, int]) -> Pair | None:
    """The pair that the merges make of `token` before the whole; None when they stop before that."""
    pieces = list(token)
    while len(pieces) > 2:
        known = [(numbers[pair], place) for place, pair in enumerate(pairwise(pieces)) if pair in numbers]
        if not known:
            return None
        _, place = min(known)
        pieces[place : place + 2] = [pieces[place] + pieces[place + 1]]
    pair = (pieces[0], pieces[1])
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
    """Whether it is the ByteLevel of GPT-2, alone or as the only one of a sequence."""
    if pre_tokenizer and pre_tokenizer["type"] == "Sequence" and len(pre_tokenizer["pretokenizers"]) == 1:
        return _is_gpt2s(pre_tokenizer["pretokenizers"][0])
    return bool(
        pre_tokenizer
        and pre_tokenizer["type"] == "ByteLevel"
        and not pre_tokenizer["add_prefix_space"]
        and pre_tokenizer.get("use_regex", True)
    )
