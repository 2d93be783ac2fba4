"""GET /studio/changes: what page.js polls instead of refreshing."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from typing import Any

import pytest

from pipeline.core.paths import Home
from pipeline.ui.shared.live_home import IDLE_SECONDS
from tests.page import Page


def changes(page: Page, method: str = "GET", **headers: str) -> dict[str, Any]:
    request = urllib.request.Request(f"{page.url}/studio/changes", method=method, headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.headers["cache-control"] == "no-store"
        return json.load(answer)


def test_anybody_may_ask_and_learns_only_whether_something_changed(page: Page) -> None:
    first = changes(page)
    assert set(first) == {"version", "seconds"}
    assert first["seconds"] == IDLE_SECONDS
    time.sleep(1)  # the cached reading is older than half a second
    assert changes(page, **{"X-Forwarded-For": "9.9.9.9"}) == first
    Home(page.home).run("calm-kea").log.write_text("step 20\n")
    deadline = time.monotonic() + 60
    while changes(page)["version"] == first["version"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_it_can_only_be_read(page: Page) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        changes(page, "POST")
    assert refused.value.code == 404
