"""Serves the document of the frame in which a visitor's browser runs a completion, with a policy of its own."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Awaitable, Callable

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from pipeline.ui.generate.browser_run import FRAME_LIMITS
from pipeline.ui.server.headers import EMBEDDERS, OWN_POLICY
from pipeline.ui.shared.markup import render
from pipeline.ui.shared.texts import ASSETS


def see_frame(pyodide_url: str) -> Callable[[Request], Awaitable[Response]]:
    """The route of the document. It is the same for everybody and holds no data of anybody."""
    script = _source("frame.js")
    config = json.dumps({"url": pyodide_url, **FRAME_LIMITS}).replace("<", "\\u003c")
    document = render(
        "see_frame",
        config=Markup(config),
        relay=_source("relay.js"),
        worker=_source("worker.js"),
        harness=_source("harness.py"),
        script=script,
    )
    own = frame_policy(script, pyodide_url)

    async def respond(request: Request) -> Response:
        request.scope[OWN_POLICY] = own
        return HTMLResponse(document)

    return respond


def frame_policy(script: str, pyodide_url: str) -> str:
    """What the document may do until frame.js closes the network as well, before it starts a program.

    `sandbox` takes its origin also where it is opened by its address. No script of another host may run: Pyodide's are
    fetched as data, below the one address, and started from memory (blob:), in a worker that inherits this policy.
    """
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}' blob: 'wasm-unsafe-eval'; worker-src data:; "
        f"connect-src {pyodide_url}; base-uri 'none'; form-action 'none'; sandbox allow-scripts; "
        f"frame-ancestors {EMBEDDERS}"
    )


def _source(name: str) -> Markup:
    """A file of assets/see, to stand inside a script element."""
    source = (ASSETS / "see" / name).read_text(encoding="utf-8")
    assert "</script" not in source and "<!--" not in source, name
    return Markup(source)
