"""Sessions that nobody listens to are dropped, with what they wait for; one address cannot push out another's."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.ui.server import sessions
from pipeline.ui.server.sessions import Sessions
from pipeline.ui.shared.visitors import Visitor


class Queue:
    """As much of Gradio's as is used."""

    def __init__(self) -> None:
        self.pending_messages_per_session: dict[str, list[Any]] = {}
        self.pending_event_ids_session: dict[str, set[str]] = {}
        self.event_ids_to_events: dict[str, Any] = {}
        self.active_jobs: list[Any] = [None]
        self.cleaned: list[str] = []
        self.stopped = False
        self.started = 0

    async def clean_events(self, *, session_hash: str) -> None:
        self.cleaned.append(session_hash)

    def start(self) -> None:
        self.started += 1

    def work(self, session: str) -> None:
        self.pending_messages_per_session[session] = []
        self.pending_event_ids_session[session] = {"event"}
        self.active_jobs.append([SimpleNamespace(session_hash=session)])


class Page:
    def __init__(self) -> None:
        self._queue = Queue()
        self.state_holder = SimpleNamespace(session_data={}, time_last_used={})


@pytest.fixture
def page() -> Page:
    return Page()


@pytest.fixture
def abandoned() -> list[str]:
    return []


@pytest.fixture
def held(page: Page, abandoned: list[str]) -> Sessions:
    return Sessions(page, lambda session, cookie: abandoned.append(session))  # type: ignore[arg-type]


ONE, TWO = Visitor("1.1.1.1", "a" * 32), Visitor("2.2.2.2", "")


def sweep(held: Sessions, seconds: float) -> None:
    asyncio.run(held.sweep(time.monotonic() + seconds))


def test_work_goes_on_while_somebody_listens(held: Sessions, page: Page, abandoned: list[str]) -> None:
    held.enter("mine", ONE)
    page._queue.work("mine")
    held.open_stream("mine", ONE, is_data=True)
    sweep(held, 10_000)
    assert abandoned == []
    assert "mine" in page._queue.pending_messages_per_session


def test_work_ends_when_nobody_listens_any_more(held: Sessions, page: Page, abandoned: list[str]) -> None:
    held.enter("mine", ONE)
    page._queue.work("mine")
    held.open_stream("mine", ONE, is_data=True)
    held.close_stream("mine", ONE, is_data=True)
    sweep(held, sessions.GONE_SECONDS - 1)
    assert abandoned == [], "a reload takes a moment"
    sweep(held, sessions.GONE_SECONDS + 1)
    assert abandoned == ["mine"]


def test_a_heartbeat_is_no_listener(held: Sessions, page: Page, abandoned: list[str]) -> None:
    held.enter("mine", ONE)
    page._queue.work("mine")
    held.open_stream("mine", ONE, is_data=False)
    sweep(held, sessions.GONE_SECONDS + 1)
    assert abandoned == ["mine"]


def test_answers_that_nobody_reads_are_dropped(held: Sessions, page: Page) -> None:
    for session in ("known", "of-an-event"):
        page._queue.work(session)
    held.enter("known", ONE)
    sweep(held, 0)
    sweep(held, sessions.UNREAD_SECONDS + 1)
    assert page._queue.pending_messages_per_session == {}
    assert page._queue.pending_event_ids_session == {}
    assert sorted(page._queue.cleaned) == ["known", "of-an-event"]


def test_one_address_has_so_many_unread_answers_and_no_more(held: Sessions, page: Page) -> None:
    held.enter("mine", ONE)
    page._queue.pending_event_ids_session["mine"] = set(map(str, range(sessions.MOST_UNREAD_OF_EACH)))
    assert not held.has_room(ONE)
    assert held.has_room(TWO)


def test_one_address_pushes_out_its_own_sessions_alone(
    held: Sessions, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    held.enter("theirs", TWO)
    page.state_holder.session_data["theirs"] = "state"
    monkeypatch.setattr(sessions, "GONE_SECONDS", 0.0)
    for number in range(3 * sessions.MOST_OF_EACH):
        page.state_holder.session_data[str(number)] = "state"
        assert held.make_place(ONE.address)
        held.enter(str(number), ONE)
    assert "theirs" in page.state_holder.session_data
    assert len(page.state_holder.session_data) == 1 + sessions.MOST_OF_EACH
    assert "0" not in page.state_holder.session_data


def test_a_session_in_use_is_never_pushed_out(held: Sessions, page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MOST_OF_EACH", 3)
    held.enter("just now", ONE)
    monkeypatch.setattr(sessions, "GONE_SECONDS", 0.0)
    held.enter("listens", ONE)
    held.open_stream("listens", ONE, is_data=True)
    held.enter("works", ONE)
    page._queue.work("works")
    assert held.make_place(ONE.address), "the one that nobody uses goes"
    assert held.is_new("just now")
    held.enter("another", ONE)
    held.open_stream("another", ONE, is_data=True)
    assert not held.make_place(ONE.address)
    assert not held.is_new("listens") and not held.is_new("works")


def test_when_there_are_too_many_of_all_the_address_with_most_loses_one(
    held: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "MOST_SESSIONS", 4)
    monkeypatch.setattr(sessions, "GONE_SECONDS", 0.0)
    held.enter("oldest of all", TWO)
    for number in range(3):
        held.enter(f"many {number}", ONE)
    assert held.make_place("3.3.3.3")
    assert held.is_new("many 0") and not held.is_new("oldest of all")


def test_a_few_addresses_cannot_keep_everybody_out(held: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even when all of theirs are in use."""
    monkeypatch.setattr(sessions, "MOST_SESSIONS", 4)
    for number in range(3):
        held.enter(f"many {number}", ONE)
    held.enter("one", TWO)
    assert held.make_place("3.3.3.3")
    assert held.is_new("many 0") and not held.is_new("one")


def test_a_session_is_its_cookies_alone(held: Sessions) -> None:
    assert held.enter("mine", ONE)
    assert not held.enter("mine", Visitor("1.1.1.1", "b" * 32))
    assert not held.enter("mine", Visitor("1.1.1.1", ""))
    assert held.enter("mine", Visitor("9.9.9.9", ONE.cookie)), "who walks from one network to another stays"


def test_streams_are_counted_by_address(held: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MOST_STREAMS_OF_EACH", {True: 1, False: 2})
    assert [held.open_stream("mine", ONE, is_data=False) for _ in range(3)] == [True, True, False]
    assert held.open_stream("theirs", TWO, is_data=False)
    assert held.open_stream("mine", ONE, is_data=True), "heartbeats take no place of answers"
    held.close_stream("mine", ONE, is_data=False)
    assert held.open_stream("mine", ONE, is_data=False)


def test_a_queue_that_gradio_has_stopped_is_started_again(held: Sessions, page: Page) -> None:
    sweep(held, 0)
    assert page._queue.started == 0
    page._queue.stopped = True
    sweep(held, 0)
    assert (page._queue.stopped, page._queue.started) == (False, 1)


def test_the_session_of_an_event_is_found(held: Sessions, page: Page) -> None:
    page._queue.event_ids_to_events["e1"] = SimpleNamespace(session_hash="mine")
    page._queue.pending_event_ids_session["yours"] = {"e2"}
    assert [held.of_event(event) for event in ("e1", "e2", "e3")] == ["mine", "yours", None]
