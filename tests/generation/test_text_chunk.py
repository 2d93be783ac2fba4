from __future__ import annotations

from pipeline.generation.text_chunk import TextChunk, joined


def test_neighbours_of_one_sample_become_one_with_the_facts_of_the_last() -> None:
    pieces = [
        TextChunk(sample=0, text="a", tokens=1),
        TextChunk(sample=0, text="b", tokens=2, done=True, finish="length"),
        TextChunk(sample=1, text="c", tokens=1),
    ]
    assert list(joined(pieces)) == [
        TextChunk(sample=0, text="ab", tokens=2, done=True, finish="length"),
        TextChunk(sample=1, text="c", tokens=1),
    ]


def test_nothing_stays_nothing() -> None:
    assert list(joined([])) == []
