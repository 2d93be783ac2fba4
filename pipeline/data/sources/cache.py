"""A source whose rows are kept in memory as they are read, so that other keywords are counted without reading it again.

What does not fit into the budget is read again each time. Within one process: shards of a remembered source do not travel.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from pipeline.data.sources.base import Batch
from pipeline.data.sources.shard import Piece, Shard, Source

BUDGET_BYTES = 320 * 2**20
"""Memory kept over all sources; a look at 20,000 installed files is 280 MB."""
BAD_ROW_BYTES = 300
"""What a bad row takes beside the name of its place."""
BATCH_BYTES = 4_000
"""What a batch takes beside its values."""
SHARD_BYTES = 1_000
"""What a shard takes of which nothing is remembered."""


def memory_of(batch: Batch) -> int:
    """Bytes that `batch` takes while it is remembered."""
    bad = sum(BAD_ROW_BYTES + len(row.where) for row in batch.bad)
    return BATCH_BYTES + int(batch.rows.estimated_size()) + bad


@dataclass
class _Known:
    """What is remembered of one shard."""

    batches: dict[int, tuple[Batch, float | None]] = field(default_factory=dict)
    """By the number of the piece: its batch, and the share of the shard behind it."""
    num_pieces: int | None = None
    """How many pieces the shard has; None while it was not read to its end."""
    num_bytes: int = SHARD_BYTES

    @property
    def is_whole(self) -> bool:
        return len(self.batches) == self.num_pieces


class Memory:
    """The batches of several shards; the shard that was used longest ago is forgotten first."""

    def __init__(self, budget_bytes: int = BUDGET_BYTES) -> None:
        self._budget = budget_bytes
        self._shards: OrderedDict[str, _Known] = OrderedDict()
        self._num_bytes = 0
        self._lock = threading.Lock()

    def recall(self, key: str) -> _Known:
        with self._lock:
            known = self._use(key)
            self._forget(0)
            return _Known(dict(known.batches), known.num_pieces)

    def remember(self, key: str, number: int, batch: Batch, share: float | None) -> None:
        """Keep the batch of piece `number`, if there is room for it beside those of its own shard."""
        size = memory_of(batch)
        with self._lock:
            known = self._use(key)
            if number in known.batches or known.num_bytes + size > self._budget:
                return
            self._forget(size)
            known.batches[number] = batch, share
            known.num_bytes += size
            self._num_bytes += size

    def _use(self, key: str) -> _Known:
        if key not in self._shards:
            self._shards[key] = _Known()
            self._num_bytes += SHARD_BYTES
        self._shards.move_to_end(key)
        return self._shards[key]

    def _forget(self, num_bytes: int) -> None:
        """Make room for so many, never of the shard that is used now."""
        while self._num_bytes + num_bytes > self._budget and len(self._shards) > 1:
            _, known = self._shards.popitem(last=False)
            self._num_bytes -= known.num_bytes

    def end(self, key: str, num_pieces: int) -> None:
        """The shard was read to its end."""
        with self._lock:
            if key in self._shards:
                self._shards[key].num_pieces = num_pieces


class Remembered(Source):
    """`source`, of whose rows some may be in `memory`: the same rows in the same order.

    Its files are listed anew each time, and nothing is remembered of a shard whose files are others now, or (but for
    installed ones) have another size in all. Other changes go unnoticed until the page is started again.
    """

    def __init__(self, source: Source, memory: Memory) -> None:
        self.spec, self.note = source.spec, source.note
        self._source = source
        self._memory = memory

    def shards(self) -> list[Shard]:
        return [RememberedShard(shard, self.spec, self._memory) for shard in self._source.shards()]


class RememberedShard:
    def __init__(self, shard: Shard, spec: str, memory: Memory) -> None:
        self.name, self.num_bytes, self.num_files = shard.name, shard.num_bytes, shard.num_files
        self.local_files = shard.local_files
        self._shard = shard
        self._memory = memory
        self._key = hashlib.blake2b(f"{spec} {shard!r}".encode(), digest_size=16).hexdigest()

    def pieces(self) -> Iterator[Piece]:
        known = self._memory.recall(self._key)
        if known.is_whole:
            for _, (batch, share) in sorted(known.batches.items(), key=lambda item: item[0]):
                yield _ready(batch, share)
            return
        number = 0
        for piece in self._shard.pieces():
            yield _ready(*known.batches[number]) if number in known.batches else self._remembering(piece, number)
            number += 1
        self._memory.end(self._key, number)

    def _remembering(self, piece: Piece, number: int) -> Piece:
        def read() -> Batch:
            batch = piece.read()
            self._memory.remember(self._key, number, batch, piece.share)
            return batch

        return Piece(read, piece.share)


def _ready(batch: Batch, share: float | None) -> Piece:
    return Piece(lambda: replace(batch, is_remembered=True), share)
