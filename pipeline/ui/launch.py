"""How the page is served, and what starts once it answers."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.middleware import Middleware

from pipeline.config import COURSE_KEYWORDS
from pipeline.errors import InputError
from pipeline.jobs import worker
from pipeline.ui.engine import Engine
from pipeline.ui.guards import Guards
from pipeline.ui.scans import KEPT_SOURCE
from pipeline.ui.sign_in import SignIn
from pipeline.ui.texts import ASSETS, t
from pipeline.ui.theme import Studio

MOST_WAITING = 64
"""Events that may wait in the queue, over all visitors."""
MOST_SESSIONS = 256
"""Visitors whose state is kept."""


def launch_arguments(engine: Engine) -> dict[str, Any]:
    """Arguments of `Blocks.launch`. No uploads, no proxies, no telemetry, no stack traces to strangers."""
    settings = engine.settings
    guards = Middleware(Guards, settings=settings)
    sign_in = Middleware(SignIn, settings=settings, access=engine.access)
    return {
        "server_name": settings.server_name,
        "server_port": settings.server_port,
        "theme": Studio(),
        "css_paths": ASSETS / "studio.css",
        "favicon_path": ASSETS / "parrot.svg",
        "app_kwargs": {"middleware": [guards, sign_in], "docs_url": None, "redoc_url": None},
        "footer_links": [],
        "share": False,
        "show_error": False,
        "strict_cors": True,
        "ssr_mode": False,
        "enable_monitoring": False,
        "run_history": False,
        "max_file_size": 0,
        "allowed_paths": [],
        "blocked_paths": [str(Path(settings.home))],
        "state_session_capacity": MOST_SESSIONS,
        "pwa": False,
        "mcp_server": False,
        "quiet": True,
    }


def serve(page: gr.Blocks, engine: Engine) -> None:
    """Serve `page` until it is ended. Jobs go on without it; the worker looks after those that wait.

    Raises InputError when the port is taken.
    """
    page.queue(api_open=False, max_size=MOST_WAITING)
    try:
        _, url, _ = page.launch(**launch_arguments(engine), prevent_thread_lock=True)
    except OSError as error:
        raise InputError(t("no_port", port=engine.settings.server_port)) from error
    print(t("serving", url=url), flush=True)
    threading.Thread(target=_after_launch, args=(engine,), name="after-launch", daemon=True).start()
    page.block_thread()


def _after_launch(engine: Engine) -> None:
    """What would only make the page start later: the worker, and the look at data that every page opens with."""
    worker.wake(engine.settings)
    for _ in engine.scans.watch(KEPT_SOURCE, COURSE_KEYWORDS, engine.settings.limits.preview_rows):
        pass
