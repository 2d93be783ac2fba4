from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from pipeline.generation.text_chunk import TextChunk
from pipeline.generation.text_streamer import TextStreamer
from tests.generation.models import tiny_tokenizer

BYTES = tiny_tokenizer(257)
"""No merges: every non-ASCII character spans several tokens."""
MARK = "\N{REPLACEMENT CHARACTER}"


def written(tokenizer: PreTrainedTokenizerFast, token_ids: list[int]) -> tuple[str, list[TextChunk]]:
    """The text and the chunks of these tokens, put one at a time."""
    chunks: list[TextChunk] = []
    writer = TextStreamer(tokenizer, 0, chunks.append)
    for token_id in token_ids:
        writer.put(token_id)
    writer.finish("length")
    return writer.text, chunks


@settings(deadline=None, max_examples=100)
@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=30))
def test_any_text_streams_exactly_and_never_half_a_character(text: str) -> None:
    whole, chunks = written(BYTES, BYTES(text, split_special_tokens=True)["input_ids"])
    assert whole == text
    shown = ""
    for chunk in chunks:
        shown += chunk.text
        assert text.startswith(shown)
    assert shown == text


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(1, 256), min_size=1, max_size=40))
def test_sent_text_never_changes_even_for_bytes_that_are_not_utf8(token_ids: list[int]) -> None:
    whole, chunks = written(BYTES, token_ids)
    assert whole == BYTES.decode(token_ids)
    assert "".join(chunk.text for chunk in chunks) == whole


def test_an_incomplete_character_is_held_back_until_it_is_complete() -> None:
    """The control of the tests above: decoding each token on arrival would send a replacement character too early."""
    token_ids = BYTES("a\u6f22b")["input_ids"]
    assert [BYTES.decode(token_ids[:length]) for length in (1, 2, 3)] == ["a", "a" + MARK, "a" + MARK]
    _, chunks = written(BYTES, token_ids)
    assert [chunk.text for chunk in chunks] == ["a", "", "", "\u6f22", "b", ""]


def test_a_remaining_replacement_character_is_sent_at_the_end() -> None:
    _, chunks = written(BYTES, BYTES("a\u6f22")["input_ids"][:-1])
    assert [chunk.text for chunk in chunks] == ["a", "", "", MARK]
