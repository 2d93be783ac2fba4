"""A split's files as one flat file of token ids: uint16 up to 65,536 ids, else uint32, little-endian, no header.

`join` writes every file and an end-of-text token after it. `drop` writes the course's windows: the whole windows of
each file without end-of-text; its shorter tail is dropped and counted. Kept files are encoded shard by shard, with any
engine, and the tokens of the shards are concatenated in order. Beside it, uint32 for each kept file: how many of the
tokens are its.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from pipeline.data.execution import storage
from pipeline.data.filter import parquet_shards
from pipeline.data.progress import Stopped
from pipeline.data.sources.shard import num_threads

if TYPE_CHECKING:
    from pipeline.data.tokens.encoder import Encoder

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")
COPY_BYTES = 2**20
FORMAT = 2
"""Version of encoded parts. Change it whenever `encode_shard` makes other tokens of the same texts and tokenizer."""


@dataclass(frozen=True)
class Counts:
    """Counts of some encoded texts."""

    num_tokens: int
    num_dropped: int
    """Tokens of tails that fill no window."""
    num_dense: int
    """Files left out because they have too few characters per token."""


@dataclass(frozen=True)
class Encoded(Counts):
    """What is known of an encoded shard."""

    lengths: list[int]
    """Tokens of each text that are written, in order; 0 for one that is left out."""


@dataclass(frozen=True)
class TokenFile(Counts):
    """Counts of a split and the digest of its token file."""

    sha256: str


@dataclass(frozen=True, kw_only=True)
class EncodeTask:
    """One shard of kept files, and how to encode it. Addresses are any that fsspec opens."""

    source: str
    """Address of the parquet file."""
    tokenizer: str
    """Address of the tokenizer's folder."""
    target: str
    """Address of the output, without a file extension: `.bin` has the tokens; `.json`, written last, their counts."""
    dtype: str
    window: int | None
    min_characters_per_token: float | None = None

    def __str__(self) -> str:
        return f"Encoding {self.source.rpartition('/')[2]}"


def encode_shard(task: EncodeTask, should_stop: Callable[[], bool] = lambda: False) -> None:
    """Write the tokens of one shard, the same bytes everywhere. If asked to stop, raises Stopped and writes nothing."""
    encoder = open_encoder(task.tokenizer)
    encoded: list[Encoded] = []

    def stop(characters: int, tokens: int) -> None:
        if should_stop():
            raise Stopped

    def write(file: BinaryIO) -> None:
        with storage.open_read(task.source) as source:
            texts = parquet_shards.texts(source)
            encoded.append(
                write_tokens(
                    file,
                    texts,
                    encoder,
                    dtype=task.dtype,
                    window=task.window,
                    min_characters_per_token=task.min_characters_per_token,
                    on_group=stop,
                )
            )

    storage.write_atomically(f"{task.target}.bin", write)
    facts = json.dumps(asdict(encoded[0])).encode()
    storage.write_atomically(f"{task.target}.json", lambda file: file.write(facts))


def is_done(task: EncodeTask) -> bool:
    return storage.exists(f"{task.target}.json") and storage.exists(f"{task.target}.bin")


def encoded_facts(task: EncodeTask) -> Encoded:
    """The counts that a finished task has written."""
    with storage.open_read(f"{task.target}.json") as file:
        return Encoded(**json.loads(file.read()))


def join(path: Path, lengths: Path, tasks: Sequence[EncodeTask]) -> TokenFile:
    """Replace `path` by the tokens of all `tasks`, in order, and `lengths` by the number of tokens of each of their texts."""
    digest = hashlib.sha256()

    def write(file: BinaryIO) -> None:
        for task in tasks:
            with storage.open_read(f"{task.target}.bin") as source:
                while data := source.read(COPY_BYTES):
                    digest.update(data)
                    file.write(data)

    storage.write_atomically(path, write)
    encoded = [encoded_facts(task) for task in tasks]
    of_each = array("I", chain.from_iterable(one.lengths for one in encoded))
    if sys.byteorder == "big":
        of_each.byteswap()
    storage.write_atomically(lengths, lambda file: file.write(of_each.tobytes()))
    return TokenFile(
        num_tokens=sum(one.num_tokens for one in encoded),
        num_dropped=sum(one.num_dropped for one in encoded),
        num_dense=sum(one.num_dense for one in encoded),
        sha256=digest.hexdigest(),
    )


def write_tokens(
    file: BinaryIO,
    groups: Iterable[list[str]],
    encoder: Encoder,
    *,
    dtype: str,
    window: int | None,
    min_characters_per_token: float | None = None,
    on_group: Callable[[int, int], None] = lambda characters, tokens: None,
) -> Encoded:
    """Write the tokens of all texts in `groups` to `file`. With `window`, each text is cut to whole windows; with None,
    all are joined. Texts with fewer characters per token than `min_characters_per_token` are left out.

    Calls `on_group` with the number of characters and tokens of each group once it is written; an exception that it
    raises ends the writing.
    """
    import numpy as np

    kind = np.dtype(dtype).newbyteorder("<")
    num_tokens = num_dropped = num_dense = 0
    lengths: list[int] = []
    for texts in groups:
        whole = encoder.encode_with_end(texts)
        if min_characters_per_token is not None:
            is_dense = [
                len(text) < min_characters_per_token * (len(ids) - 1) for text, ids in zip(texts, whole, strict=True)
            ]
            whole = [ids[:0] if dense else ids for dense, ids in zip(is_dense, whole, strict=True)]
            num_dense += sum(is_dense)
        parts = whole
        if window is not None:
            parts = [ids[: max(0, len(ids) - 1) // window * window] for ids in whole]
            num_dropped += sum(len(ids) - 1 for ids in whole if len(ids)) - sum(map(len, parts))
        ids = np.concatenate(parts) if parts else np.empty(0)
        file.write(ids.astype(kind, copy=False).tobytes())
        num_tokens += len(ids)
        lengths += map(len, parts)
        on_group(sum(map(len, texts)), len(ids))
    return Encoded(num_tokens, num_dropped, num_dense, lengths)


@lru_cache(maxsize=1)
def open_encoder(address: str) -> Encoder:
    """The encoder of the tokenizer's folder at `address`, cached for the next shard."""
    from pipeline.data.tokens.encoder import Encoder

    with tempfile.TemporaryDirectory() as folder:
        for name in TOKENIZER_FILES:
            with storage.open_read(f"{address}/{name}") as source:
                Path(folder, name).write_bytes(source.read())
        return Encoder.open(Path(folder), num_threads=num_threads())
