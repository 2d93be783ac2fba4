from __future__ import annotations

from pipeline.generation.text_chunk import TextChunk
from pipeline.generation.unread import MAX_UNREAD, Unread


def test_unread_chunks_are_joined_without_loss() -> None:
    unread = Unread()
    for number in range(10_000):
        unread.put({"chunk": TextChunk(sample=number // 5_000, text=f"{number} ").to_dict()})
        assert len(unread._answers) <= MAX_UNREAD
    unread.put({"done": True})
    *chunks, last = unread.take(0)
    assert last == {"done": True}
    assert "".join(answer["chunk"]["text"] for answer in chunks) == "".join(f"{n} " for n in range(10_000))
    assert unread.take(0) == []


def test_a_final_answer_stays_after_the_chunks() -> None:
    unread = Unread()
    for _ in range(MAX_UNREAD):
        unread.put({"chunk": TextChunk(sample=0, text="x").to_dict()})
    unread.put({"stopped": True})
    assert unread.take(0)[-1] == {"stopped": True}
