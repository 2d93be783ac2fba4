from __future__ import annotations

import io

import pytest

from pipeline.data.readers import buffered_stream
from pipeline.data.readers.buffered_stream import Held
from pipeline.data.readers.decompress import StreamError


class Counting(io.BytesIO):
    """Remembers what was read of it."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.reads: list[tuple[int, int]] = []

    def read(self, size: int | None = -1) -> bytes:
        self.reads.append((self.tell(), size or 0))
        return super().read(size)


def test_what_is_held_is_fetched_once_and_the_rest_when_it_is_read() -> None:
    stream = Counting(bytes(range(100)))
    kept = Held(stream)
    kept.hold([(50, 10), (20, 5)])
    assert stream.reads == [(20, 5), (50, 10)]
    for start, size in ((20, 5), (52, 3), (50, 10)):
        kept.seek(start)
        assert kept.read(size) == bytes(range(start, start + size))
        assert kept.tell() == start + size
    assert len(stream.reads) == 2
    kept.seek(58)
    assert kept.read(4) == bytes(range(58, 62)), "beyond what is held"
    kept.seek(-2, io.SEEK_END)
    assert kept.read() == bytes([98, 99])


def test_what_is_too_large_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffered_stream, "MOST_HELD", 10)
    stream = Counting(bytes(100))
    Held(stream).hold([(0, 6), (50, 6)])
    assert stream.reads == []


def test_places_that_cannot_be_are_damage() -> None:
    with pytest.raises(StreamError, match="damaged"):
        Held(io.BytesIO(b"abc")).hold([(-1, 2)])


def test_a_fault_of_the_stream_is_told_from_one_of_the_file() -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise ConnectionError("the Hub is away")

    kept = Held(Broken())
    with pytest.raises(ConnectionError), kept.faults():
        kept.read(1)
    with pytest.raises(StreamError, match="damaged"), Held(io.BytesIO()).faults():
        raise OSError("corrupt data")
