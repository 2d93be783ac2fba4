"""Bytes of a file as they were before it was compressed: in small chunks, however far it grows, and never without end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from pipeline.data.sources.base import BOMB, DAMAGED, TRUNCATED

PACKINGS = (".gz", ".zst", ".bz2", ".xz")
CHUNK = 2**18
"""Bytes read, and bytes unpacked, at a time."""
ZSTD_STEP = 2**10
"""Bytes given to zstd at a time: it has no way to hold back, and each byte can become 32,000."""
MOST_GROWTH = 200
"""Times that a file may grow; code grows to 4 or 5 times, and a file of one repeated line to 1,000."""
XZ_MEMORY = 2**27
"""Bytes that a .xz may ask for to be unpacked; `xz -9` takes 65 MB."""
FREE_BYTES = 2**28
"""Up to here, growth is not looked at."""


class StreamError(Exception):
    """The stream cannot be read further; its text is the reason."""


class Unpacked:
    """The bytes of `stream`, which is `num_bytes` long if that is known, decompressed. `packing` is one of PACKINGS."""

    def __init__(self, stream: BinaryIO, packing: str, num_bytes: int | None) -> None:
        self._stream = stream
        self._packing = packing
        self._num_bytes = num_bytes
        self._num_read = 0

    def share(self) -> float | None:
        """Share of the stream that is read, 0 to 1; None when nobody knows."""
        return min(1.0, self._num_read / self._num_bytes) if self._num_bytes else None

    def chunks(self) -> Iterator[bytes]:
        """Raises StreamError where it is damaged, ends too early, or has grown beyond MOST_GROWTH."""
        unpack: dict[str, Callable[[Iterator[bytes]], Iterator[bytes]]] = {
            ".gz": _gunzip,
            ".zst": _unzstd,
            ".bz2": _unbz2,
            ".xz": _unxz,
        }
        num_out = 0
        for chunk in unpack.get(self._packing, iter)(self._packed()):
            num_out += len(chunk)
            if num_out > max(FREE_BYTES, MOST_GROWTH * self._num_read):
                raise StreamError(BOMB)
            yield chunk

    def _packed(self) -> Iterator[bytes]:
        while data := self._stream.read(CHUNK):
            self._num_read += len(data)
            yield data


def _parts(
    chunks: Iterator[bytes], new: Callable[[], Any], step: Callable[[Any, bytes], tuple[bytes, bytes]]
) -> Iterator[bytes]:
    """What packed parts that follow each other hold; zeros between and behind them are padding.

    `step` unpacks a little and returns that and the data it has not looked at.
    """
    decoder = None
    for chunk in chunks:
        data = chunk
        while data or _holds_back(decoder):
            if decoder is not None and decoder.eof:
                data = data.lstrip(b"\0")
                if not data:
                    break
            if decoder is None or decoder.eof:
                decoder = new()
            out, data = step(decoder, data)
            yield out
    if decoder is not None and not decoder.eof:
        if hasattr(decoder, "flush"):
            yield decoder.flush()
        if not decoder.eof:
            raise StreamError(TRUNCATED)


def _holds_back(decoder: Any) -> bool:
    """Whether a decoder that keeps what it was given has more to give without more data."""
    return decoder is not None and not decoder.eof and not getattr(decoder, "needs_input", True)


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


def _unbz2(chunks: Iterator[bytes]) -> Iterator[bytes]:
    import bz2

    return _parts(chunks, bz2.BZ2Decompressor, _bounded(OSError))


def _unxz(chunks: Iterator[bytes]) -> Iterator[bytes]:
    import lzma

    return _parts(chunks, lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, XZ_MEMORY), _bounded(lzma.LZMAError))


def _bounded(fault: type[Exception]) -> Callable[[Any, bytes], tuple[bytes, bytes]]:
    """A step of the standard library's decoders, which keep the data that they have not looked at."""

    def step(decoder: Any, data: bytes) -> tuple[bytes, bytes]:
        try:
            return decoder.decompress(data, CHUNK), decoder.unused_data
        except fault as error:
            raise StreamError(DAMAGED) from error

    return step
