"""How much a test's rows hold in memory, whatever else runs in the process."""

from __future__ import annotations

import gc
import json.decoder
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def bytes_of_json() -> Iterator[list[int]]:
    """Yields a list; at the end it holds the bytes that were read from JSON inside and are still held.

    What other threads of the process take meanwhile, servers of earlier tests for one, does not count.
    """
    held: list[int] = []
    tracemalloc.start()
    try:
        yield held
        gc.collect()
        snapshot = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, json.decoder.__file__)])
        held.append(sum(trace.size for trace in snapshot.traces))
    finally:
        tracemalloc.stop()
