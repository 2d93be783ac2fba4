"""A source that caches its rows in memory as they are read, so that a scan for other keywords need not read it again.

Rows that do not fit into the budget are read again each time. The cache belongs to one process: shards of a cached
source cannot be sent to another process.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from pipeline.data.sources.base import Batch
from pipeline.data.sources.shard import Block, Shard, Source, never

BUDGET_BYTES = 320 * 2**20
"""Maximum memory of the cache over all sources; a scan of 20,000 installed files takes 280 MB."""
BAD_ROW_BYTES = 300
"""Memory of a bad row, without the text of its `where`."""
BATCH_BYTES = 4_000
"""Memory of a batch, without its values."""
SHARD_BYTES = 1_000
"""Memory of a shard's entry that has no cached batches."""


def memory_of(batch: Batch) -> int:
    """Bytes that `batch` takes in the cache."""
    bad = sum(BAD_ROW_BYTES + len(row.where) for row in batch.bad)
    return BATCH_BYTES + int(batch.rows.estimated_size()) + bad


@dataclass
class _Entry:
    """The cached batches of one shard."""

    batches: dict[int, tuple[Batch, float | None]] = field(default_factory=dict)
    """Block index -> its batch and Block.share."""
    num_blocks: int | None = None
    """Number of blocks in the shard; None until it has been read to its end."""
    num_bytes: int = SHARD_BYTES

    @property
    def is_whole(self) -> bool:
        return len(self.batches) == self.num_blocks


class Memory:
    """An LRU cache of the batches of several shards: the least recently used shard is evicted first."""

    def __init__(self, budget_bytes: int = BUDGET_BYTES) -> None:
        self._budget = budget_bytes
        self._shards: OrderedDict[str, _Entry] = OrderedDict()
        self._num_bytes = 0
        self._lock = threading.Lock()

    def recall(self, key: str) -> _Entry:
        with self._lock:
            cached = self._use(key)
            self._evict(0)
            return _Entry(dict(cached.batches), cached.num_blocks)

    def remember(self, key: str, number: int, batch: Batch, share: float | None) -> None:
        """Caches the batch of block `number` if it fits into the budget beside the other batches of its shard."""
        size = memory_of(batch)
        with self._lock:
            cached = self._use(key)
            if number in cached.batches or cached.num_bytes + size > self._budget:
                return
            self._evict(size)
            cached.batches[number] = batch, share
            cached.num_bytes += size
            self._num_bytes += size

    def _use(self, key: str) -> _Entry:
        if key not in self._shards:
            self._shards[key] = _Entry()
            self._num_bytes += SHARD_BYTES
        self._shards.move_to_end(key)
        return self._shards[key]

    def _evict(self, num_bytes: int) -> None:
        """Evicts shards until `num_bytes` more fit, but never the shard in use."""
        while self._num_bytes + num_bytes > self._budget and len(self._shards) > 1:
            _, cached = self._shards.popitem(last=False)
            self._num_bytes -= cached.num_bytes

    def end(self, key: str, num_blocks: int) -> None:
        """Records that the shard was read to its end."""
        with self._lock:
            if key in self._shards:
                self._shards[key].num_blocks = num_blocks


class CachedSource(Source):
    """Adds the cache `memory` to `source`: it yields the same rows in the same order.

    Files are listed anew each time. A cached shard is not used when the paths of its files or (except for installed
    files) their total size have changed. Other changes go unnoticed until the page is restarted.
    """

    def __init__(self, source: Source, memory: Memory) -> None:
        self.spec, self.note = source.spec, source.note
        self._source = source
        self._memory = memory

    def shards(self, is_over: Callable[[], bool] = never) -> list[Shard]:
        return [CachedShard(shard, self.spec, self._memory) for shard in self._source.shards(is_over)]


class CachedShard:
    def __init__(self, shard: Shard, spec: str, memory: Memory) -> None:
        self.name, self.num_bytes, self.num_files = shard.name, shard.num_bytes, shard.num_files
        self.local_files = shard.local_files
        self._shard = shard
        self._memory = memory
        self._key = hashlib.blake2b(f"{spec} {shard!r}".encode(), digest_size=16).hexdigest()

    def blocks(self) -> Iterator[Block]:
        cached = self._memory.recall(self._key)
        if cached.is_whole:
            for _, (batch, share) in sorted(cached.batches.items(), key=lambda item: item[0]):
                yield _ready(batch, share)
            return
        number = 0
        for block in self._shard.blocks():
            yield _ready(*cached.batches[number]) if number in cached.batches else self._caching(block, number)
            number += 1
        self._memory.end(self._key, number)

    def _caching(self, block: Block, number: int) -> Block:
        def read() -> Batch:
            batch = block.read()
            self._memory.remember(self._key, number, batch, block.share)
            return batch

        return Block(read, block.share)


def _ready(batch: Batch, share: float | None) -> Block:
    return Block(lambda: replace(batch, is_remembered=True), share)
