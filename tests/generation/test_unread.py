from __future__ import annotations

from pipeline.generation.text_chunk import TextChunk
from pipeline.generation.unread import MOST_UNREAD, Unread


def test_what_nobody_reads_grows_together_and_loses_nothing() -> None:
    unread = Unread()
    for number in range(10_000):
        unread.put({"piece": TextChunk(sample=number // 5_000, text=f"{number} ").to_dict()})
        assert len(unread._answers) <= MOST_UNREAD
    unread.put({"done": True})
    *pieces, last = unread.take(0)
    assert last == {"done": True}
    assert "".join(answer["piece"]["text"] for answer in pieces) == "".join(f"{n} " for n in range(10_000))
    assert unread.take(0) == []


def test_a_last_word_stays_behind_the_pieces() -> None:
    unread = Unread()
    for _ in range(MOST_UNREAD):
        unread.put({"piece": TextChunk(sample=0, text="x").to_dict()})
    unread.put({"stopped": True})
    assert unread.take(0)[-1] == {"stopped": True}
