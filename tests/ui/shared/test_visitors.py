"""Quotas count by an address that a visitor cannot forge."""

from __future__ import annotations

import pytest
from starlette.requests import HTTPConnection

from pipeline.core.settings import Settings
from pipeline.ui.shared.visitors import COOKIE, Visitor, address_of, new_cookie, visitor_of


def connection(peer: str, **headers: str) -> HTTPConnection:
    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return HTTPConnection({"type": "http", "client": (peer, 1), "headers": named})


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("8.8.8.8", "", "8.8.8.8"),
        ("10.0.0.7", "8.8.8.8", "8.8.8.8"),
        ("10.0.0.7", "1.1.1.1, 8.8.8.8", "8.8.8.8"),  # the visitor made up the first
        ("10.0.0.7", "1.1.1.1, 8.8.8.8, 10.0.0.9", "8.8.8.8"),
        ("10.0.0.7", "not an address", "10.0.0.7"),
        ("127.0.0.1", "10.0.0.5", "10.0.0.5"),
        ("::ffff:8.8.8.8", "", "8.8.8.8"),
        ("2001:4860:4860::8888", "", "2001:4860:4860::/64"),
        ("", "", ""),
    ],
)
def test_the_address_is_what_the_last_proxy_saw(peer: str, forwarded: str, address: str) -> None:
    assert address_of(peer, forwarded, several=True) == address


def test_behind_one_proxy_the_last_hop_counts_even_if_it_is_not_public() -> None:
    assert address_of("127.0.0.1", "1.1.1.1, 10.0.0.7") == "10.0.0.7"
    assert address_of("127.0.0.1", "1.1.1.1, 8.8.8.8") == "8.8.8.8"


def test_a_header_line_that_a_proxy_added_counts_and_not_the_visitors_own() -> None:
    raw = [(b"x-forwarded-for", b"198.51.100.77"), (b"x-forwarded-for", b"8.8.8.8")]
    asked = HTTPConnection({"type": "http", "client": ("127.0.0.1", 1), "headers": raw})
    assert visitor_of(asked, Settings()).address == "8.8.8.8"


def test_only_a_known_proxy_is_trusted() -> None:
    asked = connection("10.0.0.7", x_forwarded_for="8.8.8.8")
    assert visitor_of(asked, Settings()).address == "10.0.0.7"
    assert visitor_of(asked, Settings(space_id="me/studio")).address == "8.8.8.8"
    assert visitor_of(connection("127.0.0.1", x_forwarded_for="8.8.8.8"), Settings()).address == "8.8.8.8"


def test_a_cookie_that_is_not_ours_is_ignored() -> None:
    own = new_cookie()
    assert visitor_of(connection("8.8.8.8", cookie=f"{COOKIE}={own}"), Settings()) == Visitor("8.8.8.8", own)
    assert visitor_of(connection("8.8.8.8", cookie=f"{COOKIE}=../../etc"), Settings()).cookie == ""
