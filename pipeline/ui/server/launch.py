"""How the page is served, and what starts once it answers.

The page is mounted into a server of our own, not launched: only so our checks come before all of Gradio's, and none of its
headers after ours.
"""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import gradio as gr
import uvicorn
from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from pipeline.config.schema import COURSE_KEYWORDS, MATCHES
from pipeline.core.errors import InputError
from pipeline.core.settings import Settings
from pipeline.jobs import worker
from pipeline.ui.data.scans import KEPT_SOURCE, Key
from pipeline.ui.server.connections import TimedConnection
from pipeline.ui.server.events import Events
from pipeline.ui.server.guards import Guards
from pipeline.ui.server.headers import Headers
from pipeline.ui.server.page_cache import PageCache
from pipeline.ui.server.rates import Allowance
from pipeline.ui.server.session_states import LeanStates
from pipeline.ui.server.sessions import MOST_SESSIONS, Sessions
from pipeline.ui.server.sign_in import SignIn
from pipeline.ui.shared.engine import Engine
from pipeline.ui.shared.hosts import is_loopback
from pipeline.ui.shared.texts import ASSETS, t
from pipeline.ui.shared.theme import Studio

PORTS = range(7_860, 7_960)
MOST_EVENTS = 256
"""Events that are answered at once. How many of them may work is counted by visitor, where the work is."""
MOST_THREADS = 64
"""For short answers; long ones have threads of their own."""
FAREWELL_SECONDS = 3
"""How long open answers may take to end when the page is ended."""
NEVER = 10**9
MOST_FILES = 65_536


def mount_arguments(settings: Settings) -> dict[str, Any]:
    """Arguments of `gr.mount_gradio_app`. No uploads, no proxies, no telemetry, no stack traces to strangers."""
    return {
        "path": "/",
        "theme": Studio(),
        "css_paths": ASSETS / "studio.css",
        "favicon_path": str(ASSETS / "parrot.svg"),
        "app_kwargs": {"docs_url": None, "redoc_url": None, "openapi_url": None},
        "footer_links": [],
        "show_error": False,
        "ssr_mode": False,
        "enable_monitoring": False,
        "run_history": False,
        "max_file_size": 0,
        "allowed_paths": [],
        "blocked_paths": [str(Path(settings.home))],
        "pwa": False,
        "mcp_server": False,
    }


def application(page: gr.Blocks, engine: Engine) -> ASGIApp:
    """The page behind everything that a request must pass."""
    settings = engine.settings
    # Gradio sums up every event with pandas otherwise, which costs more than the event.
    os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", str(10**9))
    os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "1")
    page.queue(api_open=False, max_size=None, default_concurrency_limit=None)
    page.state_session_capacity = MOST_SESSIONS
    page.max_threads = MOST_THREADS
    page._queue.max_thread_count = MOST_EVENTS
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(
        CORSMiddleware, allow_origins=[]
    )  # its presence keeps Gradio's own away, which reflects any origin
    gr.mount_gradio_app(app, page, **mount_arguments(settings))
    page.is_running = True
    page.has_launched = True  # without it Gradio checks no path of a file that it is sent
    page._queue.pending_messages_per_session.max_size = (
        NEVER  # it would forget sessions that wait, and stop; ours are swept
    )
    # Several of Gradio's parts hold this object, so it changes its class instead of being replaced.
    page.state_holder.__class__ = LeanStates
    allowance = Allowance(settings, engine.access)
    sessions = Sessions(page, engine.abandon)
    events = Events(PageCache(app, settings), page, settings, sessions, allowance)
    # Guards outside: what another site sends reaches nothing that answers by the owner's cookie.
    return Headers(Guards(SignIn(events, settings, engine.access), settings, allowance), settings)


def serve(page: gr.Blocks, engine: Engine) -> None:
    """Serve `page` until it is ended. Jobs go on without it; the worker looks after those that wait.

    Raises InputError when the port is taken.
    """
    settings = engine.settings
    _allow_connections()
    # Gradio looks for it at every event: 1 ms where it is not installed, 30 MB where it is. The page draws nothing with it.
    sys.modules.setdefault("matplotlib", cast(ModuleType, None))
    listener = listen(settings.server_name, [settings.server_port] if settings.server_port else PORTS)
    name = "localhost" if settings.server_name == "0.0.0.0" else settings.server_name
    url = f"http://{f'[{name}]' if ':' in name else name}:{listener.getsockname()[1]}/"

    def started() -> None:
        print(t("serving", url=url), flush=True)
        if not is_loopback(settings.server_name):
            print(t("serving.closed" if settings.owner_key is None else "serving.owner"), flush=True)
        threading.Thread(target=_after_launch, args=(engine,), name="after-launch", daemon=True).start()

    config = uvicorn.Config(
        application(page, engine),
        log_level="error",  # each request that is none would be a warning
        proxy_headers=False,  # visitors.py knows which proxy to believe
        server_header=False,
        timeout_graceful_shutdown=FAREWELL_SECONDS,
        http=TimedConnection,
        ws="none",
        lifespan="on",  # Gradio's queue starts in it: without it the page would run and answer nothing
    )
    _Server(config, started).run(sockets=[listener])
    engine.close()


def listen(host: str, ports: Iterable[int]) -> socket.socket:
    """A socket on the first port that is free. Raises InputError when none is, or the address is not this machine's."""
    ports = list(ports)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in ports:
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen(1_024)
        except OSError:
            listener.close()
        else:
            return listener
    raise InputError(t("no_port", port=ports[0] if len(ports) == 1 else f"{ports[0]} to {ports[-1]}"))


def _allow_connections() -> None:
    """As many open files as the system allows: each connection is one, and the usual limit is a thousand."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


class _Server(uvicorn.Server):
    """Says when it answers."""

    def __init__(self, config: uvicorn.Config, on_start: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_start = on_start

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_start()


def _after_launch(engine: Engine) -> None:
    """What would only make the page start later: the worker, and the look at data that every page opens with."""
    worker.wake(engine.settings)
    first = Key(KEPT_SOURCE, COURSE_KEYWORDS, MATCHES[0], engine.settings.limits.preview_rows, builders=False)
    for _ in engine.scans.watch(first):
        pass
