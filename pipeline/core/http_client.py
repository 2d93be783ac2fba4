"""Requests to the Hugging Face Hub that are never waited for without end, for every room that asks it.

Measured with huggingface_hub 2.4: it has no time limit of its own, and some calls (list_repo_tree, list_repo_commits,
model_info) ask for none explicitly, which overrides the client's. So every request that comes without a limit is given
ours on its way out. Its client is an `httpx2.Client`; those of `httpx` do not fit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx2

CONNECT_SECONDS = 10.0


def limit_waiting(answer_seconds: float) -> None:
    """From now on, no request of this process to the Hub waits longer for an answer, or for the next part of one."""
    from huggingface_hub import set_client_factory

    set_client_factory(lambda: bounded_client(answer_seconds))


def bounded_client(answer_seconds: float) -> httpx2.Client:
    import httpx2
    from huggingface_hub.utils import _http

    limit = httpx2.Timeout(answer_seconds, connect=min(CONNECT_SECONDS, answer_seconds))

    def bound(request: httpx2.Request) -> None:
        if not any(request.extensions.get("timeout", {}).values()):
            request.extensions["timeout"] = limit.as_dict()

    client = _http.default_client_factory()  # the library's own, with its request ids and its offline switch
    client.timeout = limit
    client.event_hooks = {**client.event_hooks, "request": [*client.event_hooks["request"], bound]}
    return client
