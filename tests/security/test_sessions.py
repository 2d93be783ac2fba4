"""Sessions: another browser can neither read nor stop a browser's work, and unread responses are dropped."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from pipeline.ui.server.sessions import MAX_SESSIONS, MAX_UNREAD_OF_EACH, UNREAD_SECONDS
from tests.posts import events, get, post
from tests.security.conftest import Figures, Weaken
from tests.security.public import PublicPage, address
from tests.security.strangers import usual_values

pytestmark = pytest.mark.slow

OWN, OTHER = "studio_visitor=" + "a" * 32, "studio_visitor=" + "b" * 32
JOIN = "/gradio_api/queue/join"


def named(page: PublicPage, name: str) -> dict[str, Any]:
    return _events(page)[name]


@cache
def _events(page: PublicPage) -> dict[str, dict[str, Any]]:
    """Read once: many events must be posted before the first unread responses are dropped."""
    return {event["api_name"]: event for event in events(page)}


def ask(page: PublicPage, session: str, **headers: str) -> int:
    """Queue a preview of a source that does not exist, whose response stays unread. Returns the status."""
    event = named(page, "preview")
    data = ["nothing", ["pandas"], 10, "substring"]
    return post(page, JOIN, {"data": data, "fn_index": event["id"], "session_hash": session}, **headers)[0]


def attempts(page: PublicPage, session: str, cookie: str | None) -> dict[str, int]:
    """Every kind of access to a session, by a client with this cookie, and its status."""
    halt, cancel = named(page, "halt")["id"], named(page, "cancel")["id"]
    own = {"x_forwarded_for": address(), **({"cookie": cookie} if cookie else {})}
    look = named(page, "look")
    bodies = {
        "halt": ("/gradio_api/run/predict", {"data": [], "fn_index": halt, "session_hash": session}),
        "cancel scan": ("/gradio_api/run/predict", {"data": [], "fn_index": cancel, "session_hash": session}),
        "cancel": ("/gradio_api/cancel", {"session_hash": session, "fn_index": 0, "event_id": "x"}),
        "reset": ("/gradio_api/reset", {"session_hash": session, "event_id": "x"}),
        "join": (JOIN, {"data": usual_values(look), "fn_index": look["id"], "session_hash": session}),
    }
    answers = {name: post(page, path, body, **own)[0] for name, (path, body) in bodies.items()}
    answers["heartbeat"] = get(page, f"/gradio_api/heartbeat/{session}", **own)[0] if cookie != OWN else 200
    answers["read"] = get(page, f"/gradio_api/queue/data?session_hash={session}", **own)[0]
    return answers


@pytest.mark.parametrize("cookie", [OTHER, None, "studio_visitor=", "studio_visitor=" + "A" * 32])
def test_another_browser_gets_nothing_of_a_session(public: PublicPage, cookie: str | None, figures: Figures) -> None:
    session = f"own-{abs(hash(cookie))}"
    assert ask(public, session, cookie=OWN, x_forwarded_for=address()) == 200
    answers = attempts(public, session, cookie)
    figures(ways=len(answers), answers=answers)
    assert set(answers.values()) == {403}
    assert set(attempts(public, session, OWN).values()) <= {200, 422}, "control: its own browser"


def test_control_without_owners_of_sessions_anybody_reads(weaken: Weaken) -> None:
    page = weaken("sessions")
    assert ask(page, "own", cookie=OWN) == 200
    status, text = get(page, "/gradio_api/queue/data?session_hash=own", cookie=OTHER)
    assert (status, "process_completed" in text) == (200, True)


def kept(page: PublicPage, sessions: list[str]) -> list[str]:
    """The sessions whose response was not dropped. Reads it."""
    return [name for name in sessions if get(page, f"/gradio_api/queue/data?session_hash={name}")[0] != 404]


def fill(page: PublicPage) -> None:
    """As many sessions as the page remembers, each of another address."""
    with ThreadPoolExecutor(8) as askers:
        statuses = askers.map(
            lambda number: ask(page, f"fill-{number}", x_forwarded_for=address()), range(MAX_SESSIONS)
        )
        assert set(statuses) == {200}


@pytest.mark.parametrize("is_full", [False, pytest.param(True, marks=pytest.mark.security)], ids=["new", "full"])
def test_the_unread_answers_of_an_address_are_limited(tmp_path: Path, figures: Figures, is_full: bool) -> None:
    """On a page that has as many sessions as it remembers, the address's next sessions push out its own older ones."""
    page, peer = PublicPage(tmp_path), address()
    pacing = threading.Lock()

    def paced(number: int) -> int:
        with pacing:
            time.sleep(0.15)  # a faster client is refused by the rate limit
        return ask(page, f"bounded-{number}", x_forwarded_for=peer)

    page.start()
    try:
        if is_full:
            fill(page)
        with ThreadPoolExecutor(8) as askers:  # concurrent: the first responses must not be too old on a slow page
            statuses = list(askers.map(paced, range(MAX_UNREAD_OF_EACH + 16)))
        left = kept(page, [f"bounded-{number}" for number in range(len(statuses))])
    finally:
        page.kill()
    figures(posts=len(statuses), refused=statuses.count(429), left=len(left))
    assert set(statuses) <= {200, 429}
    assert 0 < len(left) <= MAX_UNREAD_OF_EACH
    assert is_full or statuses.count(200) == len(left) == MAX_UNREAD_OF_EACH


@pytest.mark.security
def test_answers_that_nobody_reads_are_dropped(public: PublicPage, figures: Figures) -> None:
    sessions = [f"unread-{number}" for number in range(200)]
    assert {ask(public, session, x_forwarded_for=address()) for session in sessions} == {200}
    assert kept(public, sessions[-1:]), "control: a moment later it is still there"
    time.sleep(UNREAD_SECONDS + 5)  # without a request, which would keep a response
    left = kept(public, sessions)
    figures(events=len(sessions), left=len(left))
    assert left == []
