"""Posts that the page never sends itself: each is answered with one sentence, and nothing is logged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.odd_values import ODD
from tests.page import Page
from tests.posts import events, get, log_of, post

pytestmark = pytest.mark.slow

ODD_EACH = 3
"""Odd values tried in each field; `make security` tries them all."""


@pytest.fixture(scope="module")
def quiet_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    page = Page(tmp_path_factory.mktemp("quiet") / "home")
    page.start()
    yield page
    page.kill()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no json",
        b"[1]",
        b'"text"',
        b"[" * 5_000,
        b'{"a":' * 20_000,
        b'{"data": NaN}',
        b"\xff\xfe",
        {"data": [], "fn_index": "0", "session_hash": "a"},
        {"data": [], "fn_index": True, "session_hash": "a"},
        {"data": [], "fn_index": -1, "session_hash": "a"},
        {"data": [], "fn_index": 10**30, "session_hash": "a"},
        {"data": {}, "fn_index": 0, "session_hash": "a"},
        {"data": [], "fn_index": 0, "session_hash": ["a"]},
        {"data": [], "fn_index": 0, "session_hash": "a" * 65},
        {"data": [], "fn_index": 0, "session_hash": "../x"},
        {"data": [], "fn_index": 0, "session_hash": "a", "trigger_id": 10**9},
        {"data": [], "fn_index": 0, "session_hash": "a", "event_data": {"path": "/etc/passwd"}},
        {"data": [], "fn_index": 0, "session_hash": "a", "event_id": "x"},
        {"data": [], "fn_index": 0, "session_hash": "a", "batched": True},
        {"data": [1, 2, 3], "fn_index": 0, "session_hash": "a"},
        {"data": [], "session_hash": "a"},
    ],
)
@pytest.mark.parametrize("path", ["/gradio_api/queue/join", "/gradio_api/run/predict", "/gradio_api/call/nothing"])
def test_a_malformed_post_is_refused_before_gradio(quiet_page: Page, path: str, body: Any) -> None:
    before = log_of(quiet_page)
    status, text = post(quiet_page, path, body)
    assert 400 <= status < 500, text
    assert len(text) < 500
    assert log_of(quiet_page) == before


def test_odd_values_in_every_field_of_every_event_get_a_sentence(quiet_page: Page) -> None:
    before, answers = log_of(quiet_page), Counter[int]()
    for event in events(quiet_page):
        for field, kind in enumerate(event["kinds"]):
            if kind == "state":
                continue
            for turn in range(ODD_EACH):
                data = list(event["values"])
                data[field] = ODD[(event["id"] + 7 * field + 11 * turn) % len(ODD)]
                body = {"data": data, "fn_index": event["id"], "session_hash": "odd", "trigger_id": None}
                status, text = post(quiet_page, "/gradio_api/run/predict", body, x_forwarded_for="203.0.113.9")
                assert status < 500, text
                assert "Traceback" not in text
                answers[status] += 1
    assert answers[200] > 20 and answers[422] > 100, answers
    assert log_of(quiet_page) == before, "an unexpected error"


FILE = {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}


def test_an_unknown_session_has_no_answers_and_leaves_no_traceback(quiet_page: Page) -> None:
    before = log_of(quiet_page)
    for path in (
        "/gradio_api/queue/data?session_hash=unknown",
        "/gradio_api/queue/data",
        "/gradio_api/call/status/unknown",
    ):
        status, text = get(quiet_page, path)
        assert (status, "no such session" in text) == (404, True)
    assert log_of(quiet_page) == before


def test_a_session_belongs_to_one_browser(quiet_page: Page) -> None:
    own, other = "studio_visitor=" + "a" * 32, "studio_visitor=" + "b" * 32
    [halt] = [event["id"] for event in events(quiet_page) if event["api_name"] == "halt"]
    body = {"data": [], "fn_index": halt, "session_hash": "mine"}
    assert post(quiet_page, "/gradio_api/run/predict", body, cookie=own)[0] == 200
    assert post(quiet_page, "/gradio_api/run/predict", body, cookie=other)[0] == 403
    assert post(quiet_page, "/gradio_api/run/predict", body)[0] == 403
    assert post(quiet_page, "/gradio_api/run/predict", body, cookie=own)[0] == 200


def test_a_huge_number_is_refused(quiet_page: Page) -> None:
    [write] = [event for event in events(quiet_page) if event["api_name"] == "write"]
    data = [10**400 if type(value) is int else value for value in write["values"]]
    assert 10**400 in data
    before = log_of(quiet_page).count("Traceback")
    body = {"data": data, "fn_index": write["id"], "session_hash": "numbers"}
    assert post(quiet_page, "/gradio_api/run/predict", body)[0] == 422
    assert log_of(quiet_page).count("Traceback") == before


def test_an_unknown_event_id_gives_no_access_to_a_session(quiet_page: Page) -> None:
    """Gradio takes an unknown event id for a session hash, whatever session the query names."""
    own, other = "studio_visitor=" + "a" * 32, "studio_visitor=" + "b" * 32
    [look] = [event for event in events(quiet_page) if event["api_name"] == "look"]
    for session, cookie in (("victim", own), ("attacker", other)):
        body = {"data": look["values"], "fn_index": look["id"], "session_hash": session}
        assert post(quiet_page, "/gradio_api/queue/join", body, cookie=cookie)[0] == 200
    path = "/gradio_api/call/preview/victim?session_hash=attacker"
    assert get(quiet_page, path, cookie=other)[0] == 404
