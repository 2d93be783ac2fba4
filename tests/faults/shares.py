"""Number of trials: a few in every `pytest`, all of them in `make faults` or `make security`."""

from __future__ import annotations

from typing import Any

import pytest

MAX_SECONDS = 3_600


def shares(names: str, quick: Any, full: Any, mark: pytest.MarkDecorator = pytest.mark.faults) -> pytest.MarkDecorator:
    """Parametrizes a test with `quick`, and with `full` for the make target that selects `mark`."""
    marks = [mark, pytest.mark.timeout(MAX_SECONDS)]
    values = [(quick, "quick", []), (full, "full", marks)]
    return pytest.mark.parametrize(names, [pytest.param(value, id=name, marks=each) for value, name, each in values])


def repeats(count: int, mark: pytest.MarkDecorator = pytest.mark.faults) -> pytest.MarkDecorator:
    """Runs a test, with the argument `repeat`, once in every `pytest`, and `count` times for the make target that
    selects `mark`.
    """
    more = [pytest.param(number, id=f"again-{number}", marks=[mark]) for number in range(1, count)]
    return pytest.mark.parametrize("repeat", [pytest.param(0, id="once"), *more])
