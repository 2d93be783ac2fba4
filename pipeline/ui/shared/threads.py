"""Answers that take long, made in threads of their own: Gradio's few threads stay free for what is short."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")

MOST_THREADS = 128
"""More than all quotas together let work at once."""
_END: Any = object()
_threads = ThreadPoolExecutor(MOST_THREADS, thread_name_prefix="long-answer")


async def stream(steps: Generator[T, None, Any]) -> AsyncIterator[T]:
    """What `steps` yields. Closing this closes `steps`, as soon as the step that is being made is done."""
    loop = asyncio.get_running_loop()
    step: asyncio.Future[T] | None = None
    try:
        while True:
            step = loop.run_in_executor(_threads, next, steps, _END)
            found = await asyncio.shield(step)
            if found is _END:
                return
            yield found
    finally:
        if step is not None and not step.done():
            await asyncio.wait([step])
        await loop.run_in_executor(_threads, steps.close)


async def wait_for(call: Callable[..., T], *arguments: Any, **settings: Any) -> T:
    """What `call` returns."""
    return await asyncio.get_running_loop().run_in_executor(_threads, partial(call, *arguments, **settings))
