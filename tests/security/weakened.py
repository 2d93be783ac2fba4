"""The page without one of its guards, for controls: `python -m tests.security.weakened NAME`.

An attack that the full page withstands must succeed here; otherwise it proves nothing.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable

import app
from pipeline.data.preview import process
from pipeline.ui.server import connections, guards, headers, launch, sessions
from pipeline.ui.shared import access, markup, wrong_keys

EVERYTHING = re.compile(r"(?s).*")


def without_owner() -> None:
    access.Access.require = lambda *_: None  # type: ignore[method-assign]


def without_paths() -> None:
    """Gradio answers every path, and may serve every file, as with `allowed_paths=["/"]`."""
    guards.OPEN_PATHS = EVERYTHING
    arguments = launch.mount_arguments
    launch.mount_arguments = lambda settings: {**arguments(settings), "allowed_paths": ["/"], "blocked_paths": []}


def without_checks_of_repos() -> None:
    """A repository is read by plain `datasets`, still inside the confinement of the process."""
    process.MODULE = "tests.security.plain_preview"


def without_confinement() -> None:
    process.MODULE = "tests.security.unconfined_preview"


def without_log_limit() -> None:
    wrong_keys.Window.take = lambda *_: True  # type: ignore[method-assign]


def without_body_limit() -> None:
    guards.BODY_SECONDS = 10_000.0
    guards.Guards.__init__.__defaults__ = (10**9, 10_000.0)


def without_header_limit() -> None:
    connections.TimedConnection.header_seconds = 10_000.0


def without_origins() -> None:
    guards.Guards._is_own_origin = lambda *_: True  # type: ignore[method-assign]
    guards.Guards._is_known_host = lambda *_: True  # type: ignore[method-assign]


def without_owners_of_sessions() -> None:
    sessions.Sessions.enter = lambda *_: True  # type: ignore[method-assign]


def without_escaping() -> None:
    """Turn escaping off for one template."""
    markup.environment().autoescape = lambda name: name != "gallery.html.j2"


def without_escaping_and_policy() -> None:
    without_escaping()
    headers.policy = lambda *_, **__: ""


GUARDS: dict[str, Callable[[], None]] = {
    "nothing": lambda: None,
    "owner": without_owner,
    "paths": without_paths,
    "repos": without_checks_of_repos,
    "confinement": without_confinement,
    "log limit": without_log_limit,
    "body limit": without_body_limit,
    "header limit": without_header_limit,
    "origins": without_origins,
    "sessions": without_owners_of_sessions,
    "escaping": without_escaping,
    "escaping and policy": without_escaping_and_policy,
}

if __name__ == "__main__":
    GUARDS[sys.argv[1]]()
    sys.exit(app.main())
