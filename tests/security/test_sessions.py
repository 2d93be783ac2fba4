"""Sessions: another browser neither reads nor stops what one asked for; and what nobody reads is dropped."""

from __future__ import annotations

import time
from functools import cache
from typing import Any

import pytest

from pipeline.ui.server.sessions import MOST_UNREAD_OF_EACH, UNREAD_SECONDS
from tests.posts import events, get, post
from tests.security.conftest import Figures, Weaken
from tests.security.public import PublicPage, address, eventually
from tests.security.strangers import usual_values

pytestmark = pytest.mark.slow

OWN, OTHER = "studio_visitor=" + "a" * 32, "studio_visitor=" + "b" * 32
JOIN = "/gradio_api/queue/join"


def named(page: PublicPage, name: str) -> dict[str, Any]:
    return _events(page)[name]


@cache
def _events(page: PublicPage) -> dict[str, dict[str, Any]]:
    """Read once: many are asked for in the time that answers are kept."""
    return {event["api_name"]: event for event in events(page)}


def ask(page: PublicPage, session: str, **headers: str) -> int:
    """The end of a visitor's own scan is asked for by an event that waits in the queue: what it says stays unread."""
    event = named(page, "preview")
    data = ["nothing", ["pandas"], 10, "substring"]
    return post(page, JOIN, {"data": data, "fn_index": event["id"], "session_hash": session}, **headers)[0]


def attempts(page: PublicPage, session: str, cookie: str | None) -> dict[str, int]:
    """Every way into a session, by somebody with this cookie, and how it was answered."""
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


def unread(page: PublicPage, name: str, peer: str) -> int:
    """How many answers nobody reads before the address is refused more."""
    for number in range(2 * MOST_UNREAD_OF_EACH):
        if ask(page, f"{name}-{number}", x_forwarded_for=peer) != 200:
            return number
        time.sleep(0.15)  # more a second is refused for another reason
    raise AssertionError("it is never refused more")


def test_one_address_leaves_only_so_many_answers_unread(public: PublicPage) -> None:
    assert unread(public, "bounded", address()) == MOST_UNREAD_OF_EACH


@pytest.mark.security
def test_answers_that_nobody_reads_are_dropped(public: PublicPage, figures: Figures) -> None:
    sessions = [f"unread-{number}" for number in range(200)]
    assert {ask(public, session, x_forwarded_for=address()) for session in sessions} == {200}
    peer = address()
    unread(public, "last", peer)
    # Asking for the answers themselves would keep them; that the address may ask again tells that its own are gone.
    eventually(lambda: ask(public, "again", x_forwarded_for=peer) == 200, "room again", UNREAD_SECONDS + 60)
    left = [session for session in sessions if get(public, f"/gradio_api/queue/data?session_hash={session}")[0] != 404]
    figures(events=len(sessions), left=len(left))
    assert left == []
