from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.gallery import cached as module
from pipeline.gallery.cached import Cached


@pytest.fixture
def derived() -> list[str]:
    """All derived values, in order."""
    return []


@pytest.fixture
def cached(tmp_path: Path, derived: list[str]) -> Cached[str]:
    return Cached(tmp_path / "x", reader(tmp_path / "x", derived))


def reader(path: Path, derived: list[str]) -> Callable[[], str]:
    def read() -> str:
        derived.append(path.read_text() if path.exists() else "nothing")
        return derived[-1]

    return read


def write(path: Path, text: str, mtime_ns: int) -> None:
    path.write_text(text)
    os.utime(path, ns=(mtime_ns, mtime_ns))


def test_an_unchanged_file_is_read_once(tmp_path: Path, cached: Cached[str], derived: list[str]) -> None:
    write(tmp_path / "x", "one", 10**18)
    assert [cached.get() for _ in range(3)] == ["one"] * 3
    assert derived == ["one"]
    write(tmp_path / "x", "two", 10**18 + 1)
    assert [cached.get() for _ in range(3)] == ["two"] * 3
    assert derived == ["one", "two"]


def test_a_file_that_has_just_changed_is_read_again_even_with_the_same_stamp(
    tmp_path: Path, cached: Cached[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SETTLING_NS", 10**12)  # long enough even for a slow machine
    path = tmp_path / "x"
    path.write_text("one")
    stamp = path.stat().st_mtime_ns
    assert cached.get() == "one"
    write(path, "two", stamp)  # same size and time, as after two changes within one clock tick
    assert cached.get() == "two"


def test_a_missing_file_is_not_cached(tmp_path: Path, cached: Cached[str]) -> None:
    assert cached.get() == "nothing"
    (tmp_path / "x").write_text("one")
    assert cached.get() == "one"
