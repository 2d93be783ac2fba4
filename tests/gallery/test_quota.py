from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from pipeline.gallery.quota import DAY, HOUR, MAX_OLD_ROWS, Pseudonyms, Quota, QuotaError


class Clock:
    """A fake clock in seconds since 1970, advanced manually."""

    def __init__(self) -> None:
        self.now = 1_750_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def quota(tmp_path: Path, clock: Clock) -> Quota:
    return Quota(path=tmp_path / "keeps.jsonl", per_hour=2, per_day=3, deed="Examples kept", clock=clock)


def test_an_hour_later_the_next_is_possible_and_not_before(quota: Quota, clock: Clock) -> None:
    quota.take("a")
    clock.now += 600
    quota.take("a")
    clock.now += HOUR - 600 - 1
    with pytest.raises(QuotaError, match="in the last hour: 2, which is the most; try again in 1 min, after"):
        quota.take("a")
    clock.now += 1
    quota.take("a")


def test_the_day_is_counted_too_and_the_longer_wait_is_reported(quota: Quota, clock: Clock) -> None:
    for _ in range(3):
        quota.take("a")
        clock.now += HOUR
    with pytest.raises(QuotaError, match="in the last 24 hours: 3, which is the most; try again in 21 h, after"):
        quota.take("a")
    clock.now += DAY - 3 * HOUR
    quota.take("a")


def test_each_visitor_has_a_quota_of_its_own(quota: Quota) -> None:
    for name in ("a", "b", "c"):
        quota.take(name)
        quota.take(name)
        with pytest.raises(QuotaError):
            quota.take(name)


def test_a_refusal_writes_nothing(quota: Quota) -> None:
    quota.take("a")
    quota.take("a")
    before = quota.path.read_bytes()
    for _ in range(10):
        with pytest.raises(QuotaError):
            quota.take("a")
    assert quota.path.read_bytes() == before


def test_rows_older_than_a_day_are_dropped_and_younger_ones_count_on(quota: Quota, clock: Clock) -> None:
    for number in range(MAX_OLD_ROWS + 1):
        quota.take(f"old {number}")
    clock.now += DAY - 60
    quota.take("a")
    quota.take("a")
    clock.now += 120
    quota.take("b")
    assert [json.loads(line)["by"] for line in quota.path.read_text().splitlines()] == ["a", "a", "b"]
    with pytest.raises(QuotaError):
        quota.take("a")


def test_a_clock_that_was_wrong_locks_nobody_out_for_good(quota: Quota, clock: Clock) -> None:
    clock.now += 400 * DAY
    quota.take("a")
    quota.take("a")
    clock.now -= 400 * DAY
    quota.take("a")


def test_a_torn_or_foreign_row_is_passed_over(quota: Quota) -> None:
    quota.take("a")
    with quota.path.open("ab") as file:
        file.write(b'{"by": 7, "at": "x"}\n[1]\n{"by": "a", "a')
    quota.take("a")
    with pytest.raises(QuotaError):
        quota.take("a")


def test_a_pseudonym_is_stable_in_its_folder_and_another_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    here = Pseudonyms(tmp_path / "visitors.salt").of("203.0.113.7")
    assert Pseudonyms(tmp_path / "visitors.salt").of("203.0.113.7") == here
    assert Pseudonyms(tmp_path / "visitors.salt").of("203.0.113.8") != here
    assert Pseudonyms(tmp_path / "other" / "visitors.salt").of("203.0.113.7") != here


def test_the_salt_is_for_this_user_alone_and_a_cut_one_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "visitors.salt"
    path.write_bytes(b"cut")
    Pseudonyms(path).of("203.0.113.7")
    assert (len(path.read_bytes()), stat.S_IMODE(path.stat().st_mode)) == (32, 0o600)
    assert [found.name for found in tmp_path.iterdir()] == ["visitors.salt"]
