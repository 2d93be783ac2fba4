"""Applies a timeout to every request to the Hugging Face Hub, for every package that sends some.

Measured with huggingface_hub 2.4: it sets no timeout of its own, and some calls (list_repo_tree, list_repo_commits,
model_info) explicitly set none, which overrides the client's timeout. So a request hook sets the timeout of every
request that has none. The library needs an `httpx2.Client`; an `httpx.Client` does not fit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx2

CONNECT_SECONDS = 10.0


def limit_waiting(answer_seconds: float) -> None:
    """From now on, no request of this process to the Hub waits longer for a response, or for its next chunk."""
    from huggingface_hub import set_client_factory

    set_client_factory(lambda: bounded_client(answer_seconds))


def bounded_client(answer_seconds: float) -> httpx2.Client:
    import httpx2
    from huggingface_hub.utils import _http

    limit = httpx2.Timeout(answer_seconds, connect=min(CONNECT_SECONDS, answer_seconds))

    def set_timeout(request: httpx2.Request) -> None:
        if not any(request.extensions.get("timeout", {}).values()):
            request.extensions["timeout"] = limit.as_dict()

    client = _http.default_client_factory()  # the library's own client, with its request ids and its offline mode
    client.timeout = limit
    client.event_hooks = {**client.event_hooks, "request": [*client.event_hooks["request"], set_timeout]}
    return client
