from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.data.stages import Stages


class Work:
    """A stage that writes one file and counts how often it was done."""

    def __init__(self, folder: Path) -> None:
        self.times = 0
        self._folder = folder

    def __call__(self) -> tuple[dict[str, int], list[str]]:
        self.times += 1
        (self._folder / "out.bin").write_bytes(b"12345")
        return {"time": self.times}, ["out.bin"]


def test_a_complete_stage_is_not_done_again(tmp_path: Path) -> None:
    work = Work(tmp_path)
    assert Stages(tmp_path, {"a": 1}).run("filter", work) == {"time": 1}
    assert Stages(tmp_path, {"a": 1}).run("filter", work) == {"time": 1}
    assert Stages(tmp_path, {"a": 1}).seconds >= 0


def test_another_configuration_starts_over(tmp_path: Path) -> None:
    work = Work(tmp_path)
    Stages(tmp_path, {"a": 1}).run("filter", work)
    assert Stages(tmp_path, {"a": 2}).run("filter", work) == {"time": 2}
    assert Stages(tmp_path, {"a": 1}).run("filter", work) == {"time": 3}


@pytest.mark.parametrize("data", [None, b"1234"])
def test_a_stage_whose_output_is_gone_or_cut_is_done_again(tmp_path: Path, data: bytes | None) -> None:
    work = Work(tmp_path)
    Stages(tmp_path, {}).run("filter", work)
    (tmp_path / "out.bin").unlink()
    if data is not None:
        (tmp_path / "out.bin").write_bytes(data)
    assert Stages(tmp_path, {}).run("filter", work) == {"time": 2}


def test_a_stage_that_fails_is_not_complete(tmp_path: Path) -> None:
    def fail() -> tuple[dict[str, int], list[str]]:
        raise ValueError

    stages = Stages(tmp_path, {})
    with pytest.raises(ValueError):
        stages.run("filter", fail)
    assert not Stages(tmp_path, {}).is_done("filter")
