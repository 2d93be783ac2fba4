from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.tokens.windows import Windows

sizes = st.integers(1, 40)
seeds = st.integers(0, 2**32 - 1)


def windows(num_windows: int, window: int = 4, rest: int = 3) -> Windows:
    """Window i has the tokens i*window, i*window + 1, ..."""
    return Windows(np.arange(num_windows * window + rest, dtype=np.uint16), window)


def numbers(batch: np.ndarray) -> list[int]:
    """The indices of the windows in a batch of `windows`."""
    return (batch[:, 0] // batch.shape[1]).tolist()


def test_windows_follow_each_other_and_the_rest_is_in_none() -> None:
    found = windows(3)
    assert len(found) == 3
    taken = found.take(np.array([2, 0]))
    assert (type(taken), taken.dtype) == (np.ndarray, np.int64)
    assert taken.tolist() == [[8, 9, 10, 11], [0, 1, 2, 3]]


@given(sizes, seeds, st.integers(0, 5))
def test_every_window_comes_exactly_once_per_epoch(size: int, seed: int, epoch: int) -> None:
    assert sorted(numbers(windows(size).batch(seed, epoch * size, size))) == list(range(size))


@given(sizes, seeds, st.integers(0, 200), st.integers(0, 100))
def test_a_batch_is_a_slice_of_one_endless_sequence(size: int, seed: int, start: int, count: int) -> None:
    one_by_one = [
        int(windows(size).permutation(seed, position // size)[position % size])
        for position in range(start, start + count)
    ]
    batch = windows(size).batch(seed, start, count)
    assert batch.shape == (count, 4)
    assert numbers(batch) == one_by_one


@given(sizes, st.lists(st.tuples(seeds, st.integers(0, 300), st.integers(0, 50)), min_size=2, max_size=6))
def test_earlier_calls_change_nothing(size: int, calls: list[tuple[int, int, int]]) -> None:
    used = windows(size)
    for seed, start, count in calls:
        assert np.array_equal(used.batch(seed, start, count), windows(size).batch(seed, start, count))


def test_seeds_and_epochs_have_orders_of_their_own() -> None:
    found = windows(1_000)
    orders = [found.permutation(seed, epoch).tolist() for seed, epoch in ((0, 0), (0, 1), (1, 0), (1, 1))]
    assert len({tuple(order) for order in orders}) == 4
    assert orders[0] != list(range(1_000))


def test_the_order_is_the_same_as_for_all_earlier_runs() -> None:
    """A run that is resumed under a newer numpy must continue in the same order."""
    assert windows(10).permutation(0, 0).tolist() == [0, 8, 9, 3, 7, 5, 1, 2, 6, 4]
    assert windows(10).permutation(7, 3).tolist() == [7, 1, 9, 6, 0, 4, 2, 8, 3, 5]
