from __future__ import annotations

import io

import pytest

from pipeline.data.readers import buffered_stream
from pipeline.data.readers.buffered_stream import BufferedStream
from pipeline.data.readers.decompress import StreamError


class Counting(io.BytesIO):
    """Records each read."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.reads: list[tuple[int, int]] = []

    def read(self, size: int | None = -1) -> bytes:
        self.reads.append((self.tell(), size or 0))
        return super().read(size)


def test_buffered_ranges_are_fetched_once_and_the_rest_when_it_is_read() -> None:
    stream = Counting(bytes(range(100)))
    buffered = BufferedStream(stream)
    buffered.buffer([(50, 10), (20, 5)])
    assert stream.reads == [(20, 5), (50, 10)]
    for start, size in ((20, 5), (52, 3), (50, 10)):
        buffered.seek(start)
        assert buffered.read(size) == bytes(range(start, start + size))
        assert buffered.tell() == start + size
    assert len(stream.reads) == 2
    buffered.seek(58)
    assert buffered.read(4) == bytes(range(58, 62)), "beyond the buffered range"
    buffered.seek(-2, io.SEEK_END)
    assert buffered.read() == bytes([98, 99])


def test_ranges_that_are_too_large_are_not_buffered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffered_stream, "MAX_BUFFERED", 10)
    stream = Counting(bytes(100))
    BufferedStream(stream).buffer([(0, 6), (50, 6)])
    assert stream.reads == []


def test_negative_ranges_are_damage() -> None:
    with pytest.raises(StreamError, match="damaged"):
        BufferedStream(io.BytesIO(b"abc")).buffer([(-1, 2)])


def test_errors_of_the_stream_are_distinguished_from_errors_in_the_file() -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise ConnectionError("the Hub is away")

    buffered = BufferedStream(Broken())
    with pytest.raises(ConnectionError), buffered.faults():
        buffered.read(1)
    with pytest.raises(StreamError, match="damaged"), BufferedStream(io.BytesIO()).faults():
        raise OSError("corrupt data")
