"""Bytes of a file as they were before it was compressed: in small chunks, however far it grows, and never without end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from pipeline.data.sources.batch import BOMB, DAMAGED, TRUNCATED

CHUNK = 2**18
"""Bytes read, and bytes unpacked, at a time."""
ZSTD_STEP = 2**10
"""Bytes given to zstd at a time: it has no way to hold back, and each byte can become 32,000."""
MOST_GROWTH = 200
"""Times that a file may grow; code grows to 4 or 5 times, and a file of one repeated line to 1,000."""
FREE_BYTES = 2**28
"""Up to here, growth is not looked at."""


class StreamError(Exception):
    """The stream cannot be read further; its text is the reason."""


def unpacked(stream: BinaryIO, packing: str, on_read: Callable[[int], None]) -> Iterator[bytes]:
    """The bytes of `stream`, decompressed. `packing` is `.gz`, `.zst` or empty.

    Raises StreamError where it is damaged, ends too early, or has grown beyond MOST_GROWTH.
    """
    num_read = num_out = 0

    def chunks() -> Iterator[bytes]:
        nonlocal num_read
        while data := stream.read(CHUNK):
            num_read += len(data)
            on_read(len(data))
            yield data

    unpack = {".gz": _gunzip, ".zst": _unzstd}.get(packing, iter)
    for chunk in unpack(chunks()):
        num_out += len(chunk)
        if num_out > max(FREE_BYTES, MOST_GROWTH * num_read):
            raise StreamError(BOMB)
        yield chunk


def _parts(
    chunks: Iterator[bytes], new: Callable[[], Any], step: Callable[[Any, bytes], tuple[bytes, bytes]]
) -> Iterator[bytes]:
    """What packed parts that follow each other hold; zeros between and behind them are padding.

    `step` unpacks a little and returns that and the data it has not looked at.
    """
    decoder = None
    for chunk in chunks:
        data = chunk
        while data:
            if decoder is not None and decoder.eof:
                data = data.lstrip(b"\0")
                if not data:
                    break
            if decoder is None or decoder.eof:
                decoder = new()
            out, data = step(decoder, data)
            yield out
    if decoder is not None and not decoder.eof:
        yield decoder.flush()
        if not decoder.eof:
            raise StreamError(TRUNCATED)


def _gunzip(chunks: Iterator[bytes]) -> Iterator[bytes]:
    from isal import isal_zlib  # twice as fast as zlib, with its interface

    def step(decoder: Any, data: bytes) -> tuple[bytes, bytes]:
        try:
            out = decoder.decompress(data, CHUNK)
        except isal_zlib.error as error:  # type: ignore[misc]
            raise StreamError(DAMAGED) from error
        return out, decoder.unused_data if decoder.eof else decoder.unconsumed_tail

    return _parts(chunks, lambda: isal_zlib.decompressobj(wbits=31), step)


def _unzstd(chunks: Iterator[bytes]) -> Iterator[bytes]:
    import zstandard

    def step(decoder: Any, data: bytes) -> tuple[bytes, bytes]:
        try:
            out = decoder.decompress(data[:ZSTD_STEP])
        except zstandard.ZstdError as error:
            raise StreamError(DAMAGED) from error
        return out, (decoder.unused_data if decoder.eof else b"") + data[ZSTD_STEP:]

    return _parts(chunks, lambda: zstandard.ZstdDecompressor().decompressobj(), step)
