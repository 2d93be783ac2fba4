"""A source whose rows stay in memory once they were read, so that they can be counted again without reading them again.

What is remembered of a shard goes by its `key`, which says whether it would give the same rows: a file by its size and
its times, a dataset by its commit. A source that cannot change at all (`is_fixed`) is not even listed again.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice

from pipeline.data.sources.batch import Batch
from pipeline.data.sources.shard import Piece, Shard, Source

BUDGET_BYTES = 512 * 2**20
"""Of rows, over all sources: the packages installed beside this page are 300 MB of text, a shard of the course's 170."""
BAD_ROW_BYTES = 300
"""What a bad row takes, about."""


@dataclass(eq=False)
class Known:
    """What is remembered of one shard."""

    pieces: dict[int, tuple[Batch, float | None]] = field(default_factory=dict)
    """By number: the rows, and the share of the shard that is read with them."""
    num_pieces: int | None = None
    """How many it has; None until somebody came to its end."""
    num_bytes: int = 0
    is_kept: bool = True
    """False once it was forgotten: then nothing more is remembered of it."""


@dataclass
class _Slot:
    """What is remembered of one source."""

    shards: dict[Hashable, Known] = field(default_factory=dict)
    listed: list[tuple[Shard, Known]] | None = None
    """The shards of a source that cannot change."""


class Memory:
    """Rows of many sources, within a budget; for any number of threads.

    When it is full, the source that was not looked at for longest goes. A source that is larger than all of it keeps
    its beginning: to let go of that for the sake of its end would leave nothing to begin with the next time.
    """

    def __init__(self, budget_bytes: int = BUDGET_BYTES) -> None:
        self._budget = budget_bytes
        self.num_bytes = 0
        self._slots: OrderedDict[str, _Slot] = OrderedDict()
        """By the name of the source, the one that was looked at last at the end."""
        self._lock = threading.Lock()

    def listed(self, spec: str) -> list[tuple[Shard, Known]] | None:
        """The shards of the source `spec`, if it cannot change and was listed."""
        with self._lock:
            return self._slot(spec).listed

    def open(self, spec: str, shards: Sequence[Shard], *, is_fixed: bool) -> list[tuple[Shard, Known]]:
        """Each shard with what is known of it. What the source does not hold any longer is forgotten."""
        keys = [shard.key for shard in shards]  # outside the lock: a disk may be asked
        with self._lock:
            slot = self._slot(spec)
            for key in slot.shards.keys() - set(keys):
                self._forget(slot.shards.pop(key))
            known = [slot.shards.setdefault(key, Known()) if key is not None else Known(is_kept=False) for key in keys]
            listed = list(zip(shards, known, strict=True))
            slot.listed = listed if is_fixed else None
            return listed

    def put(self, spec: str, known: Known, number: int, batch: Batch, share: float | None) -> None:
        """Remember a piece, if there is room for it."""
        num_bytes = int(batch.rows.estimated_size()) + BAD_ROW_BYTES * len(batch.bad)
        with self._lock:
            if not known.is_kept or number in known.pieces:
                return
            for other in [name for name in self._slots if name != spec]:
                if self.num_bytes + num_bytes <= self._budget:
                    break
                for old in self._slots.pop(other).shards.values():
                    self._forget(old)
            if self.num_bytes + num_bytes <= self._budget:
                known.pieces[number] = replace(batch, is_remembered=True), share
                known.num_bytes += num_bytes
                self.num_bytes += num_bytes

    def _slot(self, spec: str) -> _Slot:
        slot = self._slots.setdefault(spec, _Slot())
        self._slots.move_to_end(spec)
        return slot

    def _forget(self, known: Known) -> None:
        self.num_bytes -= known.num_bytes
        known.is_kept, known.num_bytes, known.pieces = False, 0, {}


class Remembered(Source):
    """`source`, the same rows in the same order, from `memory` as far as that has them."""

    def __init__(self, source: Source, memory: Memory) -> None:
        self.spec, self.note, self.is_fixed = source.spec, source.note, source.is_fixed
        self._source = source
        self._memory = memory

    def shards(self) -> list[RememberedShard]:
        listed = self._memory.listed(self.spec)
        if listed is None:
            listed = self._memory.open(self.spec, self._source.shards(), is_fixed=self.is_fixed)
        return [RememberedShard(shard, known, self.spec, self._memory) for shard, known in listed]


@dataclass(frozen=True)
class RememberedShard:
    """One shard of it, as it was listed: what changes while it is read has another key when it is listed again."""

    shard: Shard
    known: Known
    spec: str
    memory: Memory

    @property
    def name(self) -> str:
        return self.shard.name

    @property
    def num_bytes(self) -> int | None:
        return self.shard.num_bytes

    @property
    def key(self) -> Hashable:
        return self.shard.key

    def pieces(self) -> Iterator[Piece]:
        """Those that are remembered, up to the first that is not; from there on what the shard gives."""
        number = 0
        while number != self.known.num_pieces and (known := self.known.pieces.get(number)):
            yield _remembered(*known)
            number += 1
        if number == self.known.num_pieces:
            return
        for piece in islice(self.shard.pieces(), number, None):
            known = self.known.pieces.get(number)
            yield _remembered(*known) if known else Piece(partial(self._read, number, piece), piece.share)
            number += 1
        self.known.num_pieces = number

    def _read(self, number: int, piece: Piece) -> Batch:
        batch = piece.read()
        self.memory.put(self.spec, self.known, number, batch, piece.share)
        return batch


def _remembered(batch: Batch, share: float | None) -> Piece:
    return Piece(lambda: batch, share)
