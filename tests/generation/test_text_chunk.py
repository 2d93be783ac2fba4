from __future__ import annotations

from pipeline.generation.text_chunk import TextChunk, joined


def test_consecutive_chunks_of_a_sample_are_joined_with_the_fields_of_the_last() -> None:
    chunks = [
        TextChunk(sample=0, text="a", token_ids=[7], tokens=1),
        TextChunk(sample=0, text="b", token_ids=[8], tokens=2, done=True, finish="length"),
        TextChunk(sample=1, text="c", tokens=1),
    ]
    assert list(joined(chunks)) == [
        TextChunk(sample=0, text="ab", token_ids=[7, 8], tokens=2, done=True, finish="length"),
        TextChunk(sample=1, text="c", token_ids=[], tokens=1),
    ]


def test_no_chunks_give_no_chunks() -> None:
    assert list(joined([])) == []
