"""Wrong keys are delayed and logged, in bounded memory and few lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.core.atomic_io import read_lines
from pipeline.core.paths import Home
from pipeline.ui.shared.audit import Audit
from pipeline.ui.shared.wrong_keys import (
    FORGET_SECONDS,
    MAX_ADDRESSES,
    MAX_LINES_PER_HOUR,
    MAX_TRIES_PER_MINUTE,
    WrongKeys,
)
from tests.ui.conftest import Clock


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.fixture
def keys(home: Home, clock: Clock) -> WrongKeys:
    return WrongKeys(Audit(home), clock)


def test_the_delay_doubles_up_to_15_minutes(keys: WrongKeys, clock: Clock) -> None:
    delays = []
    for _ in range(13):
        assert keys.add("8.8.8.8") == 0.0, "the delay is over, so this one is a new try"
        delays.append(keys.add("8.8.8.8"))
        clock.now += delays[-1]
    assert delays == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900]


def test_an_address_does_not_delay_another_one(keys: WrongKeys) -> None:
    keys.add("8.8.8.8")
    assert keys.add("8.8.8.8") > 0
    assert keys.add("1.1.1.1") == 0


def test_the_right_key_and_an_hour_without_wrong_keys_end_a_delay(keys: WrongKeys, clock: Clock) -> None:
    for _ in range(3):
        clock.now += keys.add("8.8.8.8") + 5
    keys.forget("8.8.8.8")
    keys.add("8.8.8.8")
    assert keys.add("8.8.8.8") == 1.0
    clock.now += FORGET_SECONDS + 1
    keys.add("8.8.8.8")
    assert keys.add("8.8.8.8") == 1.0


def test_many_addresses_together_are_limited_as_well(keys: WrongKeys, clock: Clock) -> None:
    waits = [keys.add(f"10.0.{number}.1") for number in range(MAX_TRIES_PER_MINUTE + 5)]
    assert waits == [0.0] * MAX_TRIES_PER_MINUTE + [60.0] * 5
    clock.now += 60
    assert keys.add("8.8.8.8") == 0.0


def test_a_burst_from_one_address_is_one_line_for_each_step_of_the_delay(
    keys: WrongKeys, clock: Clock, home: Home
) -> None:
    for _ in range(1_000):
        keys.add("8.8.8.8")
    assert [row["count"] for row in read_lines(home.audit)] == [1]
    clock.now += 1
    for _ in range(1_000):
        keys.add("8.8.8.8")
    [_, row] = read_lines(home.audit)
    assert (row["action"], row["count"], row["address"], row["known_by"]) == ("wrong key", 1_000, "8.8.8.8", "")
    assert row["since"] <= row["time"]
    keys.flush()
    keys.flush()
    assert [row["count"] for row in read_lines(home.audit)] == [1, 1_000, 999]


def test_a_day_of_attack_from_many_addresses_floods_neither_memory_nor_the_log(
    keys: WrongKeys, clock: Clock, home: Home
) -> None:
    num_keys = 0
    for minute in range(24 * 60):
        for number in range(MAX_TRIES_PER_MINUTE + 10):
            keys.add(f"2001:db8:{minute:x}:{number:x}::/64")
            num_keys += 1
        clock.now += 60
    assert len(keys._delays) == MAX_ADDRESSES
    keys.flush()
    rows = read_lines(home.audit)
    assert len(rows) <= 24 * MAX_LINES_PER_HOUR + 1
    assert sum(row["count"] for row in rows) == num_keys, "every one of them is counted in some line"
    assert home.audit.stat().st_size < 300_000
