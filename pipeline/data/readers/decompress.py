"""Decompresses a file in small chunks, and stops when it grows too far."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from pipeline.data.sources.base import BOMB, DAMAGED, TRUNCATED

PACKINGS = (".gz", ".zst", ".bz2", ".xz")
CHUNK = 2**18
"""Bytes read, and bytes decompressed, at a time."""
ZSTD_STEP = 2**10
"""Bytes given to zstd at a time: its output cannot be limited, and each byte can become 32,000."""
MAX_GROWTH = 200
"""Maximum ratio of decompressed to compressed bytes; it is 4 to 5 for code and 1,000 for one repeated line."""
XZ_MEMORY = 2**27
"""Maximum memory in bytes for the decompression of a .xz; `xz -9` needs 65 MB."""
FREE_BYTES = 2**28
"""Decompressed bytes up to which growth is not checked."""


class StreamError(Exception):
    """The stream cannot be read further; its text is the reason."""


class Unpacked:
    """The decompressed bytes of `stream`. `num_bytes` is its length if known, `packing` is one of PACKINGS or empty."""

    def __init__(self, stream: BinaryIO, packing: str, num_bytes: int | None) -> None:
        self._stream = stream
        self._packing = packing
        self._num_bytes = num_bytes
        self._num_read = 0

    def share(self) -> float | None:
        """Fraction of the stream that is read, 0 to 1; None if unknown."""
        return min(1.0, self._num_read / self._num_bytes) if self._num_bytes else None

    def chunks(self) -> Iterator[bytes]:
        """Raises StreamError where the stream is damaged, ends too early, or has grown beyond MAX_GROWTH."""
        unpack: dict[str, Callable[[Iterator[bytes]], Iterator[bytes]]] = {
            ".gz": _gunzip,
            ".zst": _unzstd,
            ".bz2": _unbz2,
            ".xz": _unxz,
        }
        num_out = 0
        for chunk in unpack.get(self._packing, iter)(self._packed()):
            num_out += len(chunk)
            if num_out > max(FREE_BYTES, MAX_GROWTH * self._num_read):
                raise StreamError(BOMB)
            yield chunk

    def _packed(self) -> Iterator[bytes]:
        while data := self._stream.read(CHUNK):
            self._num_read += len(data)
            yield data


def _members(
    chunks: Iterator[bytes], new: Callable[[], Any], step: Callable[[Any, bytes], tuple[bytes, bytes]]
) -> Iterator[bytes]:
    """The contents of consecutive compressed members; zeros between and after them are padding.

    `step` decompresses a little and returns the output and the unused input.
    """
    decoder = None
    for chunk in chunks:
        data = chunk
        while data or _has_more_output(decoder):
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


def _has_more_output(decoder: Any) -> bool:
    """Whether a decoder that buffers its input can produce output without more input."""
    return decoder is not None and not decoder.eof and not getattr(decoder, "needs_input", True)


def _gunzip(chunks: Iterator[bytes]) -> Iterator[bytes]:
    from isal import isal_zlib  # twice as fast as zlib, with the same interface

    def step(decoder: Any, data: bytes) -> tuple[bytes, bytes]:
        try:
            out = decoder.decompress(data, CHUNK)
        except isal_zlib.error as error:  # type: ignore[misc]
            raise StreamError(DAMAGED) from error
        return out, decoder.unused_data if decoder.eof else decoder.unconsumed_tail

    return _members(chunks, lambda: isal_zlib.decompressobj(wbits=31), step)


def _unzstd(chunks: Iterator[bytes]) -> Iterator[bytes]:
    import zstandard

    def step(decoder: Any, data: bytes) -> tuple[bytes, bytes]:
        try:
            out = decoder.decompress(data[:ZSTD_STEP])
        except zstandard.ZstdError as error:
            raise StreamError(DAMAGED) from error
        return out, (decoder.unused_data if decoder.eof else b"") + data[ZSTD_STEP:]

    return _members(chunks, lambda: zstandard.ZstdDecompressor().decompressobj(), step)


def _unbz2(chunks: Iterator[bytes]) -> Iterator[bytes]:
    import bz2

    return _members(chunks, bz2.BZ2Decompressor, _bounded(OSError))


def _unxz(chunks: Iterator[bytes]) -> Iterator[bytes]:
    import lzma

    return _members(chunks, lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, XZ_MEMORY), _bounded(lzma.LZMAError))


def _bounded(fault: type[Exception]) -> Callable[[Any, bytes], tuple[bytes, bytes]]:
    """A step for the standard library's decoders, which buffer unused input themselves."""

    def step(decoder: Any, data: bytes) -> tuple[bytes, bytes]:
        try:
            return decoder.decompress(data, CHUNK), decoder.unused_data
        except fault as error:
            raise StreamError(DAMAGED) from error

    return step
