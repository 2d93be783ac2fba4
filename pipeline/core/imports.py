"""Faster imports of large libraries. Does not depend on any of them."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_paused() -> Iterator[None]:
    """Run imports without the cyclic garbage collector.

    Importing torch or Gradio makes hundreds of thousands of objects that all stay. The collector would go through them
    again and again: a tenth to a fifth of the import's time.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
