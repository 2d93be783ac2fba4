"""Serves the page, and starts background work once it answers.

The page is mounted into our own server and not launched by Gradio, so that our checks run before all of Gradio's and
Gradio adds no headers after ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
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
from pipeline.jobs.restoring import restore_and_resume
from pipeline.ui.data.scans import Key
from pipeline.ui.server import downloads, link_cards
from pipeline.ui.server.api import Api
from pipeline.ui.server.changes import changes
from pipeline.ui.server.connections import TimedConnection
from pipeline.ui.server.events import Events
from pipeline.ui.server.guards import Guards
from pipeline.ui.server.headers import Headers
from pipeline.ui.server.page_cache import PageCache
from pipeline.ui.server.rates import Allowance
from pipeline.ui.server.see_frame import see_frame
from pipeline.ui.server.session_states import LeanStates
from pipeline.ui.server.sessions import MAX_SESSIONS, Sessions
from pipeline.ui.server.sign_in import SignIn
from pipeline.ui.server.tools import Tools
from pipeline.ui.shared.engine import Engine
from pipeline.ui.shared.hosts import is_loopback
from pipeline.ui.shared.texts import ASSETS, t
from pipeline.ui.shared.theme import Studio

PORTS = range(7_860, 7_960)
MAX_EVENTS = 256
"""Concurrent events. Quotas per visitor limit the work itself, where it is done."""
MAX_THREADS = 64
"""For short handlers; long ones run in the threads of `shared.threads`."""
SHUTDOWN_SECONDS = 3
"""How long open responses may take to finish when the page is stopped."""
QUEUE_POLL_SECONDS = 0.02
"""How often Gradio looks whether an event waits in its queue: by default each millisecond, 7 % of a core on an idle page."""
NEVER = 10**9
MAX_FILES = 65_536


def mount_arguments(settings: Settings) -> dict[str, Any]:
    """Arguments of `gr.mount_gradio_app`. No uploads, no proxies, no telemetry, no stack traces for visitors."""
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
    """The page behind all its middleware."""
    settings = engine.settings
    # Otherwise Gradio summarizes every event with pandas, which costs more than the event.
    os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", str(10**9))
    os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "1")
    page.queue(api_open=False, max_size=None, default_concurrency_limit=None)
    page.state_session_capacity = MAX_SESSIONS
    page.max_threads = MAX_THREADS
    page._queue.max_thread_count = MAX_EVENTS
    page._queue.sleep_when_free = QUEUE_POLL_SECONDS
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(
        CORSMiddleware, allow_origins=[]
    )  # with it, Gradio does not add its own, which reflects any origin
    app.add_route("/studio/changes", changes(engine.live))  # before Gradio, which takes all other paths
    if settings.pyodide_url:
        app.add_route("/studio/see", see_frame(settings.pyodide_url))
    cards = link_cards.LinkCards(engine)
    app.add_route(link_cards.PATH, link_cards.route(cards))
    app.add_route(downloads.PATH, downloads.downloads(engine))
    if settings.mcp:
        Tools(Api(engine)).add_to(app)
    gr.mount_gradio_app(app, page, **mount_arguments(settings))
    page.is_running = True
    page.has_launched = True  # without it Gradio does not check the paths of files in requests
    page._queue.pending_messages_per_session.max_size = (
        NEVER  # evicting a waiting session stops Gradio's queue; sessions.py sweeps them
    )
    # Several parts of Gradio refer to this object, so its class is changed instead of replacing it.
    page.state_holder.__class__ = LeanStates
    allowance = Allowance(settings, engine.access)
    sessions = Sessions(page, engine.abandon)
    events = Events(PageCache(app, settings, cards.head), page, settings, sessions, allowance)
    # Guards is outside SignIn: requests from other sites must not reach code that trusts the owner's cookie.
    return Headers(Guards(SignIn(events, settings, engine.access), settings, allowance), settings)


def serve(page: gr.Blocks, engine: Engine) -> None:
    """Serve `page` until it is stopped. Jobs continue without it; the worker starts the queued ones.

    Raises InputError when the port is taken.
    """
    settings = engine.settings
    _raise_file_limit()
    # Gradio tries to import it at every event: 1 ms if it is not installed, 30 MB if it is. The page does not use it.
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
        log_level="error",  # each malformed request would be a warning
        proxy_headers=False,  # visitors.py knows which proxies to trust
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        http=TimedConnection,
        ws="none",
        lifespan="on",  # it starts Gradio's queue: without it the page would answer no event
    )
    logging.getLogger("uvicorn.error").addFilter(_is_fault)
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises it again once it has closed all connections
        _Server(config, started).run(sockets=[listener])
    engine.close()
    print(t("serving.ended"), flush=True)


def listen(host: str, ports: Iterable[int]) -> socket.socket:
    """A socket on the first free port of the address `host`. Raises InputError when no port is free, or the address is
    not this machine's.
    """
    ports = list(ports)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in ports:
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen(1_024)
        except OSError as error:
            listener.close()
            if isinstance(error, socket.gaierror) or error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                raise InputError(t("no_address", address=host)) from error
        else:
            return listener
    raise InputError(t("no_port", port=ports[0] if len(ports) == 1 else f"{ports[0]} to {ports[-1]}"))


def _raise_file_limit() -> None:
    """Raise the limit of open files: each connection is one, and the usual limit is about a thousand."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


class _Server(uvicorn.Server):
    """Calls `on_start` once it answers."""

    def __init__(self, config: uvicorn.Config, on_start: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_start = on_start

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_start()


def _is_fault(record: logging.LogRecord) -> bool:
    """Whether a record of uvicorn tells of a fault. A tab that was open when the page ended is none."""
    is_ended_stream = record.exc_info is not None and isinstance(record.exc_info[1], asyncio.CancelledError)
    return not is_ended_stream and "timeout graceful shutdown exceeded" not in str(record.msg)


def _after_launch(engine: Engine) -> None:
    """Work that would only delay the start: keeping the worker awake, the index of the gallery, and the scan that every
    page opens with.
    """
    for name, work in (("worker", worker.keep_awake), ("restore", restore_and_resume)):
        threading.Thread(target=work, args=[engine.settings], name=name, daemon=True).start()
    threading.Thread(target=engine.examples.read_index, name="gallery", daemon=True).start()
    source = engine.offer.wait()
    first_scan = Key(source, COURSE_KEYWORDS, MATCHES[0], engine.settings.limits.preview_rows, builders=False)
    for _ in engine.scans.watch(first_scan):
        pass
