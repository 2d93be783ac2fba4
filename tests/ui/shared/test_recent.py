"""What all visitors are shown alike is made once per interval, however many ask."""

from __future__ import annotations

import threading
import time

import pytest

from pipeline.ui.shared.recent import MAX_ENTRIES, Recent


def test_concurrent_calls_get_one_result() -> None:
    made: list[int] = []

    def make() -> int:
        time.sleep(0.05)
        made.append(1)
        return len(made)

    recent, found = Recent(60), []
    threads = [threading.Thread(target=lambda: found.append(recent.of("a", make))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [1] * 8


def test_a_call_with_another_key_does_not_wait() -> None:
    recent, is_free = Recent(60), threading.Event()
    slow = threading.Thread(target=lambda: recent.of("slow", lambda: is_free.wait(30)))
    slow.start()
    assert recent.of("quick", lambda: 1) == 1
    assert slow.is_alive(), "control: the other call has not returned"
    is_free.set()
    slow.join()


def test_an_old_result_is_made_again() -> None:
    recent, numbers = Recent(0), iter(range(3))
    assert [recent.of("a", lambda: next(numbers)) for _ in range(3)] == [0, 1, 2]


def test_each_key_has_its_own_result() -> None:
    recent = Recent(60)
    assert [recent.of(key, lambda key=key: key * 2) for key in ("a", "b", "a")] == ["aa", "bb", "aa"]


def test_an_error_is_raised_and_not_kept() -> None:
    recent = Recent(60)

    def fail() -> int:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        recent.of("a", fail)
    assert recent.of("a", lambda: 1) == 1


def test_the_cache_is_bounded() -> None:
    recent = Recent(60)
    for number in range(MAX_ENTRIES + 10):
        recent.of(number, lambda: 0)
    assert len(recent._entries) == MAX_ENTRIES
