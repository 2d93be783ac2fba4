"""The garbage collector during imports."""

from __future__ import annotations

import gc

import pytest

from pipeline.core.imports import collector_paused


def test_the_collector_runs_again_afterwards_also_after_an_error() -> None:
    with pytest.raises(ImportError), collector_paused():
        assert not gc.isenabled()
        raise ImportError
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        with collector_paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
