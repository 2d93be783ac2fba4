"""A thread pool for long handlers, so that Gradio's few threads stay free for short ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")

MAX_THREADS = 128
"""More than all quotas together allow to run at once."""
_END: Any = object()
_threads = ThreadPoolExecutor(MAX_THREADS, thread_name_prefix="long-answer")


async def stream(steps: Generator[T, None, Any]) -> AsyncIterator[T]:
    """Yields the items of `steps`. Closing this iterator closes `steps`, once its current step is done."""
    loop = asyncio.get_running_loop()
    step: asyncio.Future[T] | None = None
    try:
        while True:
            step = loop.run_in_executor(_threads, next, steps, _END)
            item = await asyncio.shield(step)
            if item is _END:
                return
            yield item
    finally:
        if step is not None and not step.done():
            await asyncio.wait([step])
        await loop.run_in_executor(_threads, steps.close)


async def wait_for(call: Callable[..., T], *arguments: Any, **settings: Any) -> T:
    """The result of `call`, which runs in the pool."""
    return await asyncio.get_running_loop().run_in_executor(_threads, partial(call, *arguments, **settings))
