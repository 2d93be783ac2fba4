from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from pipeline.generation.text_chunk import TextChunk
from pipeline.generation.text_streamer import TextStreamer
from tests.generation.models import tiny_tokenizer

BYTES = tiny_tokenizer(257)
"""No merges: every character beyond ASCII spans tokens."""
MARK = "\N{REPLACEMENT CHARACTER}"


def written(tokenizer: PreTrainedTokenizerFast, token_ids: list[int]) -> tuple[str, list[TextChunk]]:
    """The text and the pieces of these tokens, put one by one as `generate` does."""
    pieces: list[TextChunk] = []
    writer = TextStreamer(tokenizer, 0, pieces.append)
    writer.put(torch.tensor([[1, 2, 3]]))
    for token_id in token_ids:
        writer.put(torch.tensor([token_id]))
    writer.finish(len(token_ids), None, "")
    return writer.text, pieces


@settings(deadline=None, max_examples=100)
@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=30))
def test_any_text_streams_exactly_and_never_half_a_character(text: str) -> None:
    whole, pieces = written(BYTES, BYTES(text, split_special_tokens=True)["input_ids"])
    assert whole == text
    shown = ""
    for piece in pieces:
        shown += piece.text
        assert text.startswith(shown)
    assert shown == text


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(1, 256), min_size=1, max_size=40))
def test_what_was_shown_is_never_taken_back_though_the_bytes_are_no_text(token_ids: list[int]) -> None:
    whole, pieces = written(BYTES, token_ids)
    assert whole == BYTES.decode(token_ids)
    assert "".join(piece.text for piece in pieces) == whole


def test_a_torn_character_is_held_back_until_it_is_whole() -> None:
    """The control of the tests above: decoding as it comes would show a mark that has to be taken back."""
    token_ids = BYTES("a\u6f22b")["input_ids"]
    assert [BYTES.decode(token_ids[:length]) for length in (1, 2, 3)] == ["a", "a" + MARK, "a" + MARK]
    _, pieces = written(BYTES, token_ids)
    assert [piece.text for piece in pieces] == ["a", "", "", "\u6f22", "b", ""]


def test_a_mark_that_stays_one_is_shown_at_the_end() -> None:
    _, pieces = written(BYTES, BYTES("a\u6f22")["input_ids"][:-1])
    assert [piece.text for piece in pieces] == ["a", "", "", MARK]
