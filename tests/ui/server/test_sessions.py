"""Sessions that nobody listens to are dropped, with their work; one address cannot push out another's sessions."""

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
    """The parts of Gradio's queue that are used."""

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
def tracker(page: Page, abandoned: list[str]) -> Sessions:
    return Sessions(page, lambda session, cookie: abandoned.append(session))  # type: ignore[arg-type]


ONE, TWO = Visitor("1.1.1.1", "a" * 32), Visitor("2.2.2.2", "")


def sweep(tracker: Sessions, seconds: float) -> None:
    asyncio.run(tracker.sweep(time.monotonic() + seconds))


def place(tracker: Sessions, address: str) -> bool:
    return asyncio.run(tracker.make_place(address))


def test_work_continues_while_somebody_listens(tracker: Sessions, page: Page, abandoned: list[str]) -> None:
    tracker.enter("mine", ONE)
    page._queue.work("mine")
    tracker.open_stream("mine", ONE, is_data=True)
    sweep(tracker, 10_000)
    assert abandoned == []
    assert "mine" in page._queue.pending_messages_per_session


def test_work_ends_when_nobody_listens_any_more(tracker: Sessions, page: Page, abandoned: list[str]) -> None:
    tracker.enter("mine", ONE)
    page._queue.work("mine")
    tracker.open_stream("mine", ONE, is_data=True)
    tracker.close_stream("mine", ONE, is_data=True)
    sweep(tracker, sessions.GONE_SECONDS - 1)
    assert abandoned == [], "a reload takes a moment"
    sweep(tracker, sessions.GONE_SECONDS + 1)
    assert abandoned == ["mine"]


def test_a_heartbeat_is_not_a_listener(tracker: Sessions, page: Page, abandoned: list[str]) -> None:
    tracker.enter("mine", ONE)
    page._queue.work("mine")
    tracker.open_stream("mine", ONE, is_data=False)
    sweep(tracker, sessions.GONE_SECONDS + 1)
    assert abandoned == ["mine"]


def test_answers_that_nobody_reads_are_dropped(tracker: Sessions, page: Page) -> None:
    for session in ("known", "of-an-event"):
        page._queue.work(session)
    tracker.enter("known", ONE)
    sweep(tracker, 0)
    sweep(tracker, sessions.UNREAD_SECONDS + 1)
    assert page._queue.pending_messages_per_session == {}
    assert page._queue.pending_event_ids_session == {}
    assert sorted(page._queue.cleaned) == ["known", "of-an-event"]


def test_the_unread_answers_of_an_address_are_limited(tracker: Sessions, page: Page) -> None:
    tracker.enter("mine", ONE)
    page._queue.pending_event_ids_session["mine"] = set(map(str, range(sessions.MAX_UNREAD_OF_EACH)))
    assert not tracker.has_room(ONE)
    assert tracker.has_room(TWO)


def test_one_address_pushes_out_only_its_own_sessions(
    tracker: Sessions, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker.enter("theirs", TWO)
    page.state_holder.session_data["theirs"] = "state"
    monkeypatch.setattr(sessions, "GONE_SECONDS", 0.0)
    for number in range(3 * sessions.MAX_OF_EACH):
        page.state_holder.session_data[str(number)] = "state"
        assert place(tracker, ONE.address)
        tracker.enter(str(number), ONE)
    assert "theirs" in page.state_holder.session_data
    assert len(page.state_holder.session_data) == 1 + sessions.MAX_OF_EACH
    assert "0" not in page.state_holder.session_data


def test_a_session_in_use_is_never_pushed_out(tracker: Sessions, page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MAX_OF_EACH", 3)
    tracker.enter("just now", ONE)
    monkeypatch.setattr(sessions, "GONE_SECONDS", 0.0)
    tracker.enter("listens", ONE)
    tracker.open_stream("listens", ONE, is_data=True)
    tracker.enter("works", ONE)
    page._queue.work("works")
    assert place(tracker, ONE.address), "the unused one is dropped"
    assert tracker.is_new("just now")
    tracker.enter("another", ONE)
    tracker.open_stream("another", ONE, is_data=True)
    assert not place(tracker, ONE.address)
    assert not tracker.is_new("listens") and not tracker.is_new("works")


def test_at_the_total_limit_the_address_with_most_sessions_loses_one(
    tracker: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "MAX_SESSIONS", 4)
    monkeypatch.setattr(sessions, "GONE_SECONDS", 0.0)
    tracker.enter("oldest of all", TWO)
    for number in range(3):
        tracker.enter(f"many {number}", ONE)
    assert place(tracker, "3.3.3.3")
    assert tracker.is_new("many 0") and not tracker.is_new("oldest of all")


def test_a_few_addresses_cannot_keep_everybody_out(tracker: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even when all of theirs are in use."""
    monkeypatch.setattr(sessions, "MAX_SESSIONS", 4)
    for number in range(3):
        tracker.enter(f"many {number}", ONE)
    tracker.enter("one", TWO)
    assert place(tracker, "3.3.3.3")
    assert tracker.is_new("many 0") and not tracker.is_new("one")


def test_at_the_total_limit_an_unused_session_goes_before_one_in_use(
    tracker: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody with two tabs has more sessions than any of many who left."""
    monkeypatch.setattr(sessions, "MAX_SESSIONS", 5)
    for number in range(3):
        tracker.enter(f"left {number}", Visitor(f"4.4.4.{number}", ""))
        tracker._sessions[f"left {number}"].heard_at -= 100
    for name in ("first tab", "second tab"):
        tracker.enter(name, ONE)
    assert place(tracker, "3.3.3.3")
    assert list(tracker._sessions) == ["left 1", "left 2", "first tab", "second tab"]


def test_a_session_that_is_pushed_out_loses_its_work_and_its_answers_at_once(
    tracker: Sessions, page: Page, abandoned: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither is counted any more, so nothing else would limit them."""
    monkeypatch.setattr(sessions, "MAX_SESSIONS", 3)
    for number in range(3):
        tracker.enter(f"many {number}", ONE)
        page._queue.work(f"many {number}")
    for number in range(3, 9):
        assert place(tracker, ONE.address)
        tracker.enter(f"many {number}", ONE)
        page._queue.work(f"many {number}")
    assert abandoned == [f"many {number}" for number in range(6)]
    for by_session in (page._queue.pending_messages_per_session, page._queue.pending_event_ids_session):
        assert list(by_session) == ["many 6", "many 7", "many 8"]


def test_a_session_belongs_to_one_cookie(tracker: Sessions) -> None:
    assert tracker.enter("mine", ONE)
    assert not tracker.enter("mine", Visitor("1.1.1.1", "b" * 32))
    assert not tracker.enter("mine", Visitor("1.1.1.1", ""))
    assert tracker.enter("mine", Visitor("9.9.9.9", ONE.cookie)), "a browser that changes its network keeps its session"


def test_streams_are_counted_by_address(tracker: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MAX_STREAMS_OF_EACH", {True: 1, False: 2})
    assert [tracker.open_stream("mine", ONE, is_data=False) for _ in range(3)] == [True, True, False]
    assert tracker.open_stream("theirs", TWO, is_data=False)
    assert tracker.open_stream("mine", ONE, is_data=True), "heartbeats are counted separately"
    tracker.close_stream("mine", ONE, is_data=False)
    assert tracker.open_stream("mine", ONE, is_data=False)


def test_a_queue_that_gradio_has_stopped_is_started_again(tracker: Sessions, page: Page) -> None:
    sweep(tracker, 0)
    assert page._queue.started == 0
    page._queue.stopped = True
    sweep(tracker, 0)
    assert (page._queue.stopped, page._queue.started) == (False, 1)


def test_the_session_of_an_event_is_found(tracker: Sessions, page: Page) -> None:
    page._queue.event_ids_to_events["e1"] = SimpleNamespace(session_hash="mine")
    page._queue.pending_event_ids_session["yours"] = {"e2"}
    assert [tracker.of_event(event) for event in ("e1", "e2", "e3")] == ["mine", "yours", None]
