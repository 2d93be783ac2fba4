"""How many trials: a few in every `pytest`, all of them in `make faults`."""

from __future__ import annotations

from typing import Any

import pytest

MOST_SECONDS = 3_600


def shares(names: str, quick: Any, full: Any) -> pytest.MarkDecorator:
    """Parametrizes a test with `quick`, and with `full` for `make faults`."""
    marks = [pytest.mark.faults, pytest.mark.timeout(MOST_SECONDS)]
    values = [(quick, "quick", []), (full, "full", marks)]
    return pytest.mark.parametrize(names, [pytest.param(value, id=name, marks=each) for value, name, each in values])
