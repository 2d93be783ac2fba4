"""A thousand wrong keys by form, JSON and header, from one address and many: little is stored, the right key works."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from pipeline.core.atomic_io import read_lines
from pipeline.core.paths import Home
from pipeline.ui.shared.wrong_keys import MAX_LINES_PER_HOUR
from tests.faults.shares import shares
from tests.posts import get, post
from tests.security.conftest import Figures, Weaken
from tests.security.public import OWNER_KEY, PublicPage, address

pytestmark = pytest.mark.slow

ONE = "11.200.0.1"
WRONG = "wrong-key-{number:05d}-wrong"
MAX_MEGABYTES = 30
UNLOCK = "/studio/unlock"


def tried(page: PublicPage, number: int) -> int:
    """Send one wrong key, by form, JSON or header, from the address ONE or a new one."""
    key, peer = WRONG.format(number=number), ONE if number % 2 else address()
    if number % 3 == 0:
        form = {"content_type": "application/x-www-form-urlencoded"}
        return post(page, UNLOCK, f"key={key}".encode(), x_forwarded_for=peer, **form)[0]
    if number % 3 == 1:
        return post(page, UNLOCK, {"key": key}, x_forwarded_for=peer)[0]
    return get(page, "/studio/who", x_owner_key=key, x_forwarded_for=peer)[0]


def attack(page: PublicPage, num_keys: int) -> Counter[int]:
    return Counter(tried(page, number) for number in range(num_keys))


def wrong_lines(page: PublicPage) -> int:
    return sum(row["action"] == "wrong key" for row in read_lines(Home(page.home).audit))


@shares("num_keys", 150, 1_000, pytest.mark.security)
def test_wrong_keys_are_counted_and_the_right_one_works_at_once(
    public: PublicPage, num_keys: int, figures: Figures
) -> None:
    faults, before = public.faults(), public.megabytes()
    answers, lines = attack(public, num_keys), wrong_lines(public)
    status, text = post(public, UNLOCK, {"key": OWNER_KEY}, x_forwarded_for=ONE)
    grown = public.megabytes() - before
    figures(keys=num_keys, statuses=dict(answers), audit_lines=lines, grown_mb=round(grown))
    assert (status, json.loads(text)) == (200, {"state": "owner"})
    assert {200, 429} <= set(answers) <= {200, 403, 429}  # 403 until the limit of tries per minute
    assert 0 < lines <= MAX_LINES_PER_HOUR + 1, "one more line precedes that of an owner who signs in"
    assert grown < MAX_MEGABYTES
    assert public.faults() == faults
    files = [path for path in public.home.rglob("*") if path.is_file()]
    for path in files:
        data = path.read_bytes()
        assert b"wrong-key-0" not in data and OWNER_KEY.encode() not in data, path


def test_a_first_wrong_key_is_refused(weaken: Weaken) -> None:
    page = weaken("nothing")
    assert post(page, UNLOCK, {"key": WRONG}, x_forwarded_for=address())[0] == 403


def test_control_without_a_limit_each_is_a_line_of_the_log(weaken: Weaken) -> None:
    page = weaken("log limit")
    for _ in range(MAX_LINES_PER_HOUR + 20):
        post(page, UNLOCK, {"key": WRONG}, x_forwarded_for=address())
    assert wrong_lines(page) > MAX_LINES_PER_HOUR
