"""Measures the memory of rows decoded from JSON, independent of the rest of the process."""

from __future__ import annotations

import gc
import json.decoder
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def bytes_of_json() -> Iterator[list[int]]:
    """Yields a list that at the end contains the bytes still in use by objects that were decoded from JSON inside.

    Other allocations do not count, such as those of server threads of earlier tests.
    """
    sizes: list[int] = []
    tracemalloc.start()
    try:
        yield sizes
        gc.collect()
        snapshot = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, json.decoder.__file__)])
        sizes.append(sum(trace.size for trace in snapshot.traces))
    finally:
        tracemalloc.stop()
