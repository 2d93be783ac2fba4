"""Every route that Gradio registers: closed, unless the page itself uses it."""

from __future__ import annotations

import http.client
import re
from collections import Counter
from pathlib import Path

import pytest
from starlette.routing import BaseRoute, Mount

import app
from pipeline.core.settings import Settings
from pipeline.ui.server.guards import OPEN_PATHS
from pipeline.ui.server.launch import application
from pipeline.ui.shared.engine import Engine
from tests.security.conftest import Figures, Weaken
from tests.security.public import PublicPage, address

pytestmark = pytest.mark.slow
BEHIND = 5
"""Middleware layers around the application: Headers, Guards, SignIn, Events, PageCache."""


def routes(folder: Path) -> set[tuple[str, str]]:
    """Method and path of every route of the page's server, with `x` for each parameter."""
    engine = Engine(Settings(home=folder))
    served = application(app.build(engine), engine)
    for _ in range(BEHIND):
        served = served._app  # type: ignore[attr-defined]
    return {(method, re.sub(r"\{[^}]*\}", "x", path)) for method, path in _routes_of(served.routes)}  # type: ignore[attr-defined]


def _routes_of(found: list[BaseRoute]) -> list[tuple[str, str]]:
    every: list[tuple[str, str]] = []
    for route in found:
        if included := getattr(route, "original_router", None):  # an included FastAPI router
            every += _routes_of(included.routes)
        elif isinstance(route, Mount):
            every += [(method, route.path + path) for method, path in _routes_of(list(route.routes))]
        else:
            path = str(getattr(route, "path", ""))
            every += [(method, path) for method in getattr(route, "methods", None) or ["GET"]]
    return every


def status_of(page: PublicPage, method: str, path: str) -> int:
    """The status alone: some responses never end."""
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=60)
    body = b"{}" if method == "POST" else None
    try:
        connection.request(method, path, body, {"content-type": "application/json", "x-forwarded-for": address()})
        return connection.getresponse().status
    finally:
        connection.close()


def test_every_route_that_the_page_does_not_use_is_closed(public: PublicPage, tmp_path: Path, figures: Figures) -> None:
    faults = public.faults()
    found, answers = routes(tmp_path), Counter[str]()
    assert len(found) > 60, found
    for method, path in sorted(found):
        status, is_open = status_of(public, method, path), bool(OPEN_PATHS.fullmatch(path))
        answers[f"{'open' if is_open else 'closed'} {status}"] += 1
        assert status < 500 if is_open else status == 403, (method, path, status)
    figures(routes=len(found), **{name.replace(" ", "_"): number for name, number in sorted(answers.items())})
    assert public.faults() == faults


def test_control_without_the_list_they_are_gradios(weaken: Weaken, tmp_path: Path) -> None:
    page = weaken("paths")
    assert any(
        status_of(page, *route) == 200 for route in routes(tmp_path / "routes") if not OPEN_PATHS.fullmatch(route[1])
    )
