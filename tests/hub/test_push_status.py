from __future__ import annotations

import pytest

from pipeline.core.paths import Home
from pipeline.hub.push_status import Retrying, read_retrying, request_retry, retry_requested_at, write_retrying

DELAYED = Retrying(run="alpha", step=100, attempts=3, since=1.0, next_at=9.0, error="The Hub is away.")


def test_what_is_written_is_read_until_it_is_over(home: Home) -> None:
    home.path.mkdir()
    write_retrying(home, "me/parrot", DELAYED)
    assert read_retrying(home, "me/parrot") == DELAYED
    assert read_retrying(home, "me/other") is None
    write_retrying(home, "me/parrot", None)
    assert read_retrying(home, "me/parrot") is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"run": "alpha"}'])
def test_a_file_that_cannot_be_read_delays_nothing(home: Home, text: str) -> None:
    home.path.mkdir()
    home.publisher_status("me/parrot").write_text(text)
    assert read_retrying(home, "me/parrot") is None


def test_the_newest_request_counts(home: Home) -> None:
    assert retry_requested_at(home, "me/parrot") == 0.0
    request_retry(home, "me/parrot")
    first = retry_requested_at(home, "me/parrot")
    request_retry(home, "me/parrot")
    assert retry_requested_at(home, "me/parrot") > first > 0.0
