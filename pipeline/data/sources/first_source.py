"""Chooses the source that is offered first: the package index's examples where it can be reached, else `installed`."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from pipeline.core.errors import PipelineError

CHECK_SECONDS = 2.0
"""Timeout of each step of the request: connecting, the answer."""
WAIT_SECONDS = 4.0
"""How long the whole check is waited for; resolving a name has no timeout of its own."""
KNOWN_PROJECT = "matplotlib"


@dataclass(frozen=True)
class FirstSource:
    source: str = "installed"
    """`pypi` or `installed`."""
    reason: str = "The package index does not answer; try again later, or use source installed."
    """Why it is not `pypi`, in one sentence; empty when it is."""


def first_source() -> FirstSource:
    """Asks the package index once. Never raises, and takes WAIT_SECONDS at most."""
    found: list[FirstSource] = []
    thread = threading.Thread(target=lambda: found.append(_asked()), name="index-check", daemon=True)
    thread.start()
    thread.join(WAIT_SECONDS)
    return found[0] if found else FirstSource()


def _asked() -> FirstSource:
    from pipeline.data.sources.index_settings import index_settings
    from pipeline.data.sources.package_index import client_of

    try:
        client_of(index_settings()).check(KNOWN_PROJECT, CHECK_SECONDS)
    except PipelineError as error:
        return FirstSource(reason=str(error))
    return FirstSource("pypi", "")
